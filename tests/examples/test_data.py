"""The split that training and the main job share."""

from examples.digits.data import load_split


def test_a_client_gets_200_held_out_digits_without_importing_scikit_learn(held_out: dict):
    assert len(held_out["inputs"]) == len(held_out["labels"]) == 200
    assert all(len(digit) == 64 and min(digit) >= 0 and max(digit) <= 16 for digit in held_out["inputs"])
    assert {held_out["labels"].count(digit) for digit in range(10)} <= {19, 20, 21}


def test_the_parts_share_no_digit_leave_none_out_and_are_the_same_in_each_process(held_out: dict):
    parts = load_split()
    assert [len(part.labels) for part in parts] == [1300, 297, 200]
    images = [image.tobytes() for part in parts for image in part.inputs]
    assert len(set(images)) == len(images) == 1797
    assert parts.held_out.inputs.tolist() == held_out["inputs"]
    assert parts.held_out.labels.tolist() == held_out["labels"]
