"""Prometheus' text format, and what two looks at it tell."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.deployments.scrape.exposition import Sample, Unreadable, parse
from apps.deployments.scrape.figures import Look, Span, increase, quantile, rate, total

# The example of https://prometheus.io/docs/instrumenting/exposition_formats/, and OpenMetrics' exemplar and end.
TEXT = r"""
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
http_request_duration_seconds_bucket{le="0.05",} 24054 # {trace_id="a}b"} 0.01 1520879607.789
rpc:odd_name { quantile = "0.5" , } NaN
# EOF
"""


def test_the_text_format_is_read() -> None:
    samples = parse(TEXT)
    assert samples[:6] == (
        Sample("http_requests_total", {"method": "post", "code": "200"}, 1027),
        Sample("http_requests_total", {"method": "post", "code": "400"}, 3),
        Sample(
            "msdos_file_access_time_seconds",
            {"path": "C:\\DIR\\FILE.TXT", "error": 'Cannot find file:\n"FILE.TXT"'},
            1.458255915e9,
        ),
        Sample("metric_without_timestamp_and_labels", {}, 12.47),
        Sample("something_weird", {"problem": "division by zero"}, math.inf),
        Sample("http_request_duration_seconds_bucket", {"le": "0.05"}, 24054),
    )
    assert (samples[6].name, samples[6].labels) == ("rpc:odd_name", {"quantile": "0.5"}) and math.isnan(
        samples[6].value
    )
    assert [each.value for each in parse(TEXT, lambda name: name == "http_requests_total")] == [1027, 3]


@pytest.mark.parametrize(
    "line",
    [
        "<!doctype html>",
        "{}",
        "name",
        *("name{a='b'} 1", 'name{a="b" c="d"} 1'),
        "name{a=b} 1",
        'name{a="b" 1',
        'name{a="b"',
        "name one",
        "name 1_000",
        "9name 1",
        '{"u": 1}',
    ],
)
def test_what_is_no_sample_is_said_with_its_line(line: str) -> None:
    with pytest.raises(Unreadable, match="Line 2 is no sample of a metric"):
        parse(f"up 1\n{line}\n")


ODD = st.text('a"\\\n,{}=# é', max_size=8)


@given(st.dictionaries(st.sampled_from(("a", "_b", "le")), ODD, max_size=3), st.floats())
def test_what_is_written_is_read(labels: dict[str, str], value: float) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for k, v in labels.items()}
    (sample,) = parse("x{" + ",".join(f'{key}="{text}"' for key, text in escaped.items()) + f"}} {value!r}")
    assert sample.labels == labels
    assert sample.value == value or math.isnan(value)


@given(st.text('a1."\\\n,{}=# +-N', max_size=40))
def test_any_text_is_read_into_samples_or_refused_in_words(text: str) -> None:
    try:
        samples = list(parse(text))
    except Unreadable as refused:
        assert str(refused)
    else:
        assert len(samples) <= len(text.splitlines())
        assert all(sample.name and isinstance(sample.value, float) for sample in samples)


def span(before: str, after: str, seconds: float = 10) -> Span:
    return Span(Look(100, parse(before)), Look(100 + seconds, parse(after)))


def test_a_counter_s_growth_is_that_of_each_series() -> None:
    grown = span('n{code="200"} 100', 'n{code="200"} 130\nn{code="500"} 5')
    assert increase([grown], "n") == 35
    assert rate([grown], "n") == 3.5
    assert rate([grown], "n", {"code": "500"}) == 0.5
    assert total(grown.after, "n") == 135
    # A restart: it counts from zero. Two processes add up. What nobody counts is not zero.
    assert increase([span("n 100", "n 7"), grown], "n") == 42
    assert increase([grown], "other") is None and rate([], "n") is None and total(grown.after, "other") is None


def histogram(*counts: float) -> str:
    bounds = ("0.1", "0.2", "0.4", "+Inf")
    return "\n".join(f't_bucket{{le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True))


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((100, 100, 100, 100), 0.5, 0.05),
        ((50, 100, 100, 100), 0.5, 0.1),
        ((50, 100, 100, 100), 0.95, 0.19),
        ((0, 0, 100, 100), 0.5, 0.3),
        ((0, 0, 0, 100), 0.5, 0.4),
        ((10, 20, 30, 40), 1.0, 0.4),
        ((10, 10, 10, 10), 0.0, 0.0),
    ],
)
def test_a_quantile_lies_between_its_bucket_s_bounds(counts: Sequence[float], share: float, expected: float) -> None:
    """The cases of PromQL's `histogram_quantile`."""
    estimate = quantile([span(histogram(5, 5, 5, 5), histogram(*(5 + each for each in counts)))], share, "t")
    assert estimate is None if expected is None else estimate == pytest.approx(expected)


def test_quantiles_of_several_processes_are_those_of_all_observations() -> None:
    fast, slow = (
        span(histogram(0, 0, 0, 0), histogram(90, 90, 90, 90)),
        span(histogram(0, 0, 0, 0), histogram(0, 0, 10, 10)),
    )
    assert quantile([fast, slow], 0.5, "t") == pytest.approx(0.1 * 50 / 90)
    assert quantile([fast, slow], 0.95, "t") == pytest.approx(0.3)
