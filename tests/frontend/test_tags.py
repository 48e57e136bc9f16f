"""The template tags: what they say, that they escape, and that nothing missing breaks a page."""

from datetime import timedelta
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import timezone

NOW = timezone.now()


def render(source: str, **context: Any) -> str:
    return Template("{% load flotilla %}" + source).render(Context(context))


def test_status_is_shape_word_and_colour() -> None:
    html = render('{% status "Degraded" %}')
    assert 'class="status bad"' in html
    assert 'href="#s-triangle-alert"' in html
    assert ">Degraded<" in html
    assert 'class="status ok pill"' in render('{% status "Healthy" text="3 of 3" pill=True %}')


@pytest.mark.parametrize(
    "source",
    [
        '{% status x %}', '{% status "Healthy" text=x %}', '{% shape x %}', '{% icon "x" "" x %}', '{% code x %}',
        '{% empty x x x url=x action=x %}', '{% pods items %}', '{% bar 1 2 3 x %}', '{% log_viewer x x x %}',
        '{% spark points x %}', '{{ x|short:40 }}', '{{ x|figure }}', '{% chart "c" figure x %}',
    ],
)  # fmt: skip
def test_nothing_that_people_name_becomes_markup(source: str) -> None:
    evil = '"><script>alert(1)</script>'
    items = [{"name": evil, "state": evil, "url": evil, "detail": evil}]
    html = render(source, x=evil, items=items, points=[1.0, 2.0], figure={"data": [evil]})
    assert "<script>alert" not in html


@pytest.mark.parametrize(
    "source",
    [
        "{% status x %}", "{% age x %}", "{% ago x %}", "{% since x %}", "{% elapsed x %}", "{% elapsed x x %}",
        "{% bar used=x asked=x total=x %}", "{{ x|figure }}", "{{ x|bytes }}", "{{ x|cpu }}", "{{ x|duration }}",
        "{{ x|tone }}", "{% spark x %}", "{% pods x %}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, "missing"])
def test_what_is_missing_breaks_no_page(source: str, value: str | None) -> None:
    assert render(source, **({} if value == "missing" else {"x": value})).strip()


def test_ages_tick_and_turn_old() -> None:
    html = render("{% age when stale=60 %}", when=timezone.now() - timedelta(seconds=70))
    assert 'data-tick="age"' in html
    assert 'class="age old"' in html
    assert ">as of 1 min ago<" in html
    assert 'class="age"' in render("{% age when %}", when=timezone.now())


def test_elapsed_stands_still_once_there_is_an_end() -> None:
    start = NOW - timedelta(minutes=18)
    assert "data-tick" in render("{% elapsed start %}", start=start)
    html = render("{% elapsed start end %}", start=start, end=NOW)
    assert "data-tick" not in html
    assert ">18 min<" in html


def test_a_bar_says_its_figures_and_turns_hot() -> None:
    html = render('{% bar used=3800 asked=2000 total=4000 label="CPU" unit="cpu" %}')
    assert 'aria-label="CPU: used 3.8, requested 2 of 4"' in html
    assert 'class="bar hot"' in html
    assert 'width="95.0%"' in html
    assert 'class="bar none"' in render("{% bar used=1 total=0 %}")


def test_more_pods_than_the_limit_are_counted() -> None:
    html = render("{% pods items limit=2 %}", items=[{"name": f"p{n}", "state": "Healthy"} for n in range(5)])
    assert html.count("<li>") == 3
    assert "3 more" in html


def test_words_are_said_with_the_quotes_that_keep_them_apart() -> None:
    assert render("{{ words|quoted }}", words=["sh", "-c", "a && b"]) == "sh -c &#x27;a &amp;&amp; b&#x27;"


def test_short_keeps_the_algorithm_of_a_digest() -> None:
    assert render("{{ x|short }}", x="sha256:0123456789abcdef") == "sha256:01234567"
    assert render("{{ x|short }}", x="0123456789abcdef") == "01234567"
