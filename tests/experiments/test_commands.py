"""A command that people read and write is the one that runs."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.experiments.specs import parse_spec
from apps.experiments.specs.commands import Way, by_shell, fields_of, of_spec
from localcluster.kubelet.env import expand

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=0, max_size=30)


@given(st.lists(TEXT, min_size=1, max_size=6))
@example(["sh", "-c", "a && b\n"])
@example(["echo", "", "it's", "$HOME", "a > b", "$(NAME)"])
def test_words_that_are_shown_are_read_as_the_same_words(words: list[str]) -> None:
    for way, field in ((Way.WORDS, "command"), (Way.ARGUMENTS, "args")):
        shown = of_spec({field: words})
        assert shown is not None and shown.way == way
        assert fields_of(way, shown.text) == {"command_line": "", "command": [], "args": []} | {field: words}


@given(st.text("$({x)} ", max_size=12))
def test_what_a_shell_gets_is_the_line_that_was_written(line: str) -> None:
    assert [expand(word, {"x": "oh"}) for word in by_shell(line)] == ["/bin/sh", "-c", line]


def test_a_line_is_shown_as_it_is_and_without_what_browsers_add() -> None:
    assert fields_of(Way.LINE, "cd /data &&\r\n  ls")["command_line"] == "cd /data &&\n  ls"
    shown = of_spec({"command_line": "a && b", "command": [], "args": []})
    assert shown is not None and (shown.way, shown.text) == (Way.LINE, "a && b")
    assert of_spec({"image": "x"}) is None


@pytest.mark.parametrize("text", ["a && b", "a | b", "a; b", "a > b", "a &", "a `b`", "a $HOME", "a ${B}", "a 'b"])
def test_what_only_a_shell_knows_is_no_word(text: str) -> None:
    with pytest.raises(ValueError, match=r"shell only|split"):
        fields_of(Way.WORDS, text)


@pytest.mark.parametrize("text", ["a '&&' b", 'a "x > y; $HOME"', r"a \; b", "a $(NAME)", "a --x=$(NAME)", "print(1)"])
def test_what_is_quoted_or_kubernetes_own_is(text: str) -> None:
    assert fields_of(Way.WORDS, text)["command"]


@pytest.mark.parametrize(
    "wrong",
    [{"command_line": ["a"]}, {"command_line": "a", "args": ["b"]}, {"command_line": "a", "command": ["b"]},
     {"command_line": "a" * 100_001}, {"command": [" "]}],
)  # fmt: skip
def test_what_is_both_or_neither_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        parse_spec({"image": "x", **wrong})
    assert caught.value.field in wrong
