import pytest

from apps.clusters.watcher.shares import Member, shares, to_hand_over


@pytest.mark.parametrize(
    ("clusters", "limits", "wanted"),
    [
        (50, [0], [50]),
        (50, [0, 0, 0], [17, 17, 16]),
        (4, [0, 0, 0], [2, 1, 1]),
        (2, [0, 0, 0], [1, 1, 0]),
        (0, [0, 0], [0, 0]),
        (10, [3, 0], [3, 7]),
        (10, [3, 3], [3, 3]),
        (10, [1, 0, 0], [1, 5, 4]),
        (10, [], []),
    ],
)
def test_clusters_are_dealt_out_evenly(clusters: int, limits: list[int], wanted: list[int]) -> None:
    members = [Member(f"w{number}", limit) for number, limit in enumerate(limits)]
    assert list(shares(clusters, members).values()) == wanted


@pytest.mark.parametrize("clusters", range(12))
@pytest.mark.parametrize("watchers", range(1, 5))
def test_one_that_joins_moves_only_what_it_gets(clusters: int, watchers: int) -> None:
    members = [Member(f"w{number}") for number in range(watchers)]
    before, after = shares(clusters, members), shares(clusters, [*members, Member("new")])
    assert sum(after.values()) == clusters
    assert all(after[name] <= before[name] for name in before)
    assert max(after.values()) - min(after.values()) <= 1


@pytest.mark.parametrize(
    ("held", "ages", "wanted"),
    [
        (50, [100, 1], 0),  # it has only just come: it may be gone in a moment
        (50, [100, 9], 5),  # a few at a time
        (27, [100, 9], 2),
        (25, [100, 9], 0),
        (10, [100, 9], 0),  # it takes what is free, and nobody gives
        (50, [1, 1], 0),
    ],
)
def test_who_has_too_many_gives_a_few_to_those_that_last(held: int, ages: list[float], wanted: int) -> None:
    members = [Member(f"w{number}", age=age) for number, age in enumerate(ages)]
    assert to_hand_over(held, 50, members, "w0", settled=6, lot=5) == wanted
