"""The picture of a pipeline."""

from hypothesis import given

from apps.workflows.layout import HEIGHT, WIDTH, picture
from apps.workflows.specs import PipelineSpec
from tests.workflows.test_decision import graphs

DIAMOND = {"prepare": [], "a": ["prepare"], "b": ["prepare"], "join": ["a", "b", "prepare"]}


def test_a_step_stands_behind_what_it_needs_and_lines_that_follow_from_others_are_not_drawn():
    drawn = picture(DIAMOND)
    left = {box.name: box.x for box in drawn.boxes}
    assert left["prepare"] < left["a"] == left["b"] < left["join"]
    lines = {(line.source, line.target) for line in drawn.lines}
    assert lines == {("prepare", "a"), ("prepare", "b"), ("a", "join"), ("b", "join")}


@given(graphs())
def test_no_box_covers_another_and_all_lie_within_the_picture(spec: PipelineSpec):
    drawn = picture({step.name: step.needs for step in spec.steps})
    assert {box.name for box in drawn.boxes} == {step.name for step in spec.steps}
    places = {(box.x, box.y) for box in drawn.boxes}
    assert len(places) == len(drawn.boxes)
    for box in drawn.boxes:
        assert 0 <= box.x <= drawn.width - WIDTH and 0 <= box.y <= drawn.height - HEIGHT
        for x, y in places - {(box.x, box.y)}:
            assert abs(x - box.x) >= WIDTH or abs(y - box.y) >= HEIGHT
    left = {box.name: box.x for box in drawn.boxes}
    assert all(left[need] < left[step.name] for step in spec.steps for need in step.needs)
