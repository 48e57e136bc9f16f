"""What a target allows: tables of who, how, how much, approvals and freeze windows; and of what is written."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.core.states import Role
from apps.deployments.rollout.freezes import frozen_until
from apps.deployments.rollout.policy import (
    Answer,
    Decided,
    Load,
    Person,
    Policy,
    Wish,
    may_decide,
    parse_policy,
    rule,
)
from apps.deployments.rollout.strategy import Kind
from apps.deployments.rollout.windows import Window

# A Monday.
NOW = datetime(2026, 11, 30, 6, 0, tzinfo=UTC)
WEEKEND = {"from": "fri 18:00", "until": "mon 08:00", "time_zone": "Europe/Berlin"}
DEV, ADMIN, VIEWER = (Person("ada", role) for role in (Role.DEVELOPER, Role.ADMIN, Role.VIEWER))
CI = Person("", Role.ADMIN)
TWO = Load(2, 1000, 2**30, 0)
WAITS, REFUSED, FINE = Answer.WAITS, Answer.REFUSED, Answer.ALLOWED
RULES: list[tuple[str, dict[str, Any], dict[str, Any], Decided | None, Answer, str]] = [
    ("nothing is said", {}, {}, None, FINE, ""),
    ("a viewer", {}, {"person": VIEWER}, None, REFUSED, "You may not deploy to eu. Ask a project developer."),
    ("only admins", {"deployers": "admin"}, {}, None, REFUSED, "Ask a project admin."),
    ("an admin", {"deployers": "admin"}, {"person": ADMIN}, None, FINE, ""),
    ("a project's token has its role", {"deployers": "admin"}, {"person": CI}, None, FINE, ""),
    ("named", {"deployers": ["ada", "bob"]}, {}, None, FINE, ""),
    ("not named, not even an admin", {"deployers": ["bob"]}, {"person": ADMIN}, None, REFUSED, "bob may."),
    ("a token is nobody", {"deployers": ["bob"]}, {"person": CI}, None, REFUSED, "a project's token is nobody's"),
    ("another strategy", {"strategies": ["canary"]}, {}, None, REFUSED,
     "eu allows canary rollouts, and this one is rolling"),
    ("one of the strategies", {"strategies": ["canary", "rolling"]}, {}, None, FINE, ""),
    ("any, where it comes back", {"strategies": ["canary"]}, {"proven": True}, None, FINE, ""),
    ("any, where nothing is rolled out", {"strategies": ["canary"]}, {"strategy": None}, None, FINE, ""),
    ("within the quota", {"quota": {"replicas": 4}}, {"others": TWO}, None, FINE, ""),
    ("beyond it", {"quota": {"replicas": 3}}, {"others": TWO}, None, REFUSED,
     "eu has a quota of 3 replicas, and 4 replicas would be asked for. 1 replica are left"),
    ("beyond it in memory", {"quota": {"memory": "1536Mi"}}, {"others": TWO}, None, REFUSED, "1.5 GiB of memory"),
    ("beyond it in CPU", {"quota": {"cpu": "1"}}, {"others": TWO}, None, REFUSED, "quota of 1 CPU"),
    ("no GPU at all", {"quota": {"gpu": 0}}, {"asked": Load(1, 1, 1, 1)}, None, REFUSED, "Nothing is left."),
    ("it shrinks, though it is too much", {"quota": {"replicas": 1}}, {"had": Load(9), "others": TWO}, None, FINE, ""),
    ("quota holds also for what comes back", {"quota": {"replicas": 1}}, {"proven": True}, None, REFUSED, "quota"),
    ("nobody was asked", {"approval": True}, {}, None, WAITS, "approval of eu. Another person approves it."),
    ("somebody was asked", {"approval": True}, {}, Decided.WAITING, WAITS, "Waiting for approval of eu."),
    ("asked for another rollout", {"approval": True}, {}, Decided.LAPSED, WAITS, "Waiting for approval of eu."),
    ("approved", {"approval": True}, {}, Decided.APPROVED, FINE, ""),
    ("rejected", {"approval": True}, {}, Decided.REJECTED, WAITS, "It was rejected for eu."),
    ("what comes back needs no approval", {"approval": True}, {"proven": True}, None, FINE, ""),
    ("nothing is rolled out", {"approval": True, "freezes": [WEEKEND]}, {"strategy": None}, None, FINE, ""),
    ("frozen", {"freezes": [WEEKEND]}, {}, None, WAITS, "eu is frozen until Mon 30 Nov 2026, 08:00 (Europe/Berlin)."),
    ("what comes back is not frozen", {"freezes": [WEEKEND]}, {"proven": True}, None, FINE, ""),
    ("approved and frozen", {"approval": True, "freezes": [WEEKEND]}, {}, Decided.APPROVED, WAITS, "frozen"),
    ("refused before it waits", {"approval": True, "deployers": ["bob"]}, {}, None, REFUSED, "may not deploy"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "wish", "decided", "answer", "says"), [r[1:] for r in RULES], ids=[r[0] for r in RULES]
)
def test_each_rule(
    policy: dict[str, Any], wish: dict[str, Any], decided: Decided | None, answer: Answer, says: str
) -> None:
    asked = Wish(**{"target": "eu", "person": DEV, "strategy": Kind.ROLLING, "asked": TWO, **wish})
    ruling = rule(parse_policy(policy), asked, decided, NOW)
    assert (ruling.answer, says in f"{ruling.message} {ruling.hint}") == (answer, True), ruling
    assert (ruling.due is not None) == ("frozen" in ruling.message)
    if answer is not FINE:
        assert ruling.message.endswith(".") and ruling.hint.endswith("."), "it says what to do next"


BERLIN = "Europe/Berlin"
WINDOWS = [
    # now (UTC), windows, until (UTC)
    ("2026-11-27 16:59", [WEEKEND], None),
    ("2026-11-27 17:00", [WEEKEND], "2026-11-30 07:00"),
    ("2026-11-29 12:00", [WEEKEND], "2026-11-30 07:00"),
    ("2026-11-30 07:00", [WEEKEND], None),
    ("2026-11-30 23:00", [{"from": "18:00", "until": "08:00"}], "2026-12-01 08:00"),
    ("2026-11-30 03:00", [{"from": "18:00", "until": "08:00"}], "2026-11-30 08:00"),
    ("2026-11-30 12:00", [{"from": "18:00", "until": "08:00"}], None),
    ("2026-11-30 12:00", [{"from": "8:00", "until": "18:00", "time_zone": "Asia/Kolkata"}], "2026-11-30 12:30"),
    ("2026-12-25 12:00", [{"from": "2026-12-20 00:00", "until": "2027-01-04T08:00"}], "2027-01-04 08:00"),
    ("2027-12-25 12:00", [{"from": "2026-12-20 00:00", "until": "2027-01-04 08:00"}], None),
    # One follows the other at once, and the two are one.
    ("2026-11-30 01:00", [{"from": "00:00", "until": "04:00"}, {"from": "04:00", "until": "9:00"}], "2026-11-30 09:00"),
    # Clocks are put back on 25 October: the window is an hour longer, and forward on 28 March: an hour shorter.
    ("2026-10-24 23:30", [{"from": "sat 22:00", "until": "sun 06:00", "time_zone": BERLIN}], "2026-10-25 05:00"),
    ("2027-03-27 22:30", [{"from": "sat 22:00", "until": "sun 06:00", "time_zone": BERLIN}], "2027-03-28 04:00"),
]  # fmt: skip


@pytest.mark.parametrize(("now", "windows", "until"), WINDOWS)
def test_each_window(now: str, windows: list[dict[str, str]], until: str | None) -> None:
    thaws = frozen_until(parse_policy({"freezes": windows}).freezes, datetime.fromisoformat(f"{now}+00:00"))
    assert thaws == (until and datetime.fromisoformat(f"{until}+00:00"))


_TIMES = st.times().map(lambda time: f"{time:%H:%M}")
_MOMENTS = st.integers(0, 365 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_TIMES, _TIMES, st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"]), _MOMENTS)
def test_a_window_ends_later_than_now_and_not_later_than_it_comes_again(
    a: str, b: str, zone: str, now: datetime
) -> None:
    if a == b:
        return
    until = Window(a, b, zone).end_at(now)
    assert until is None or now < until <= now + timedelta(hours=25)
    weekly = Window(f"mon {a}", f"thu {b}", zone).end_at(now)
    assert weekly is None or now < weekly <= now + timedelta(days=8)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ("all", "policy"),
        ({"approvals": True}, "policy.approvals"),
        ({"approval": "yes"}, "policy.approval"),
        ({"approval": ""}, "policy.approval"),
        ({"approval": 0}, "policy.approval"),
        ({"deployers": ""}, "policy.deployers"),
        ({"deployers": []}, "policy.deployers"),
        ({"deployers": [" "]}, "policy.deployers"),
        ({"deployers": {}}, "policy.deployers"),
        ({"deployers": ["ada"] + [str(number) for number in range(100)]}, "policy.deployers"),
        ({"strategies": 0}, "policy.strategies"),
        ({"strategies": ""}, "policy.strategies"),
        ({"strategies": {}}, "policy.strategies"),
        ({"freezes": {}}, "policy.freezes"),
        ({"freezes": ""}, "policy.freezes"),
        ({"freezes": [{**WEEKEND, "time_zone": "localtime"}]}, "policy.freezes[0].time_zone"),
        ({"freezes": [{**WEEKEND, "time_zone": ""}]}, "policy.freezes[0].time_zone"),
        ({"freezes": [{**WEEKEND, "name": 0}]}, "policy.freezes[0].name"),
        ({"quota": []}, "policy.quota"),
        ({"quota": {"replicas": ""}}, "policy.quota.replicas"),
        ({"quota": {"cpu": ""}}, "policy.quota.cpu"),
        ({"quota": {"memory": ["1Gi"]}}, "policy.quota.memory"),
        ({"quota": {"cpu": True}}, "policy.quota.cpu"),
        ({"deployers": "viewer"}, "policy.deployers"),
        ({"deployers": [7]}, "policy.deployers"),
        ({"strategies": ["odd"]}, "policy.strategies"),
        ({"strategies": "canary"}, "policy.strategies"),
        ({"quota": {"disk": 1}}, "policy.quota.disk"),
        ({"quota": {"replicas": -1}}, "policy.quota.replicas"),
        ({"quota": {"memory": "much"}}, "policy.quota.memory"),
        ({"quota": {"cpu": "0"}}, "policy.quota.cpu"),
        ({"freezes": "mon"}, "policy.freezes"),
        ({"freezes": [{"from": "fri 18:00"}]}, "policy.freezes[0].until"),
        ({"freezes": [{"from": "fry 18:00", "until": "mon 08:00"}]}, "policy.freezes[0].from"),
        ({"freezes": [{"from": "25:00", "until": "08:00"}]}, "policy.freezes[0].from"),
        ({"freezes": [{"from": "2026-02-30 00:00", "until": "2026-03-01 00:00"}]}, "policy.freezes[0].from"),
        ({"freezes": [{"from": "2026-03-02 00:00", "until": "2026-03-01 00:00"}]}, "policy.freezes[0].until"),
        ({"freezes": [{"from": "fri 18:00", "until": "08:00"}]}, "policy.freezes[0].until"),
        ({"freezes": [{"from": "18:00", "until": "18:00"}]}, "policy.freezes[0].until"),
        ({"freezes": [{**WEEKEND, "time_zone": "Europe/Atlantis"}]}, "policy.freezes[0].time_zone"),
        ({"freezes": [{**WEEKEND, "time_zone": "../etc"}]}, "policy.freezes[0].time_zone"),
        ({"freezes": [{**WEEKEND, "cron": "* * * * *"}]}, "policy.freezes[0].cron"),
        ({"freezes": [WEEKEND] * 21}, "policy.freezes"),
    ],
)
def test_what_is_no_policy_is_refused_at_its_field(policy: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_policy(policy)
    assert refused.value.field == field
    assert refused.value.message.endswith(".")


def test_what_is_null_was_left_out() -> None:
    nothing = dict.fromkeys(("deployers", "approval", "strategies", "freezes", "quota"))
    assert parse_policy(nothing) == Policy()
    assert parse_policy({"freezes": [{**WEEKEND, "name": None, "time_zone": None}]}).freezes[0].time_zone == "UTC"


def test_a_policy_is_stored_as_it_was_meant() -> None:
    said = {
        "deployers": ["ada", "bob"],
        "approval": True,
        "strategies": ["rolling", "canary"],
        "freezes": [{"name": "weekend", **WEEKEND}],
        "quota": {"replicas": 20, "cpu": "16", "memory": "64Gi", "gpu": 0},
    }
    policy = parse_policy(said)
    assert policy.to_json() == said
    assert parse_policy(policy.to_json()) == policy
    assert (Policy().to_json(), parse_policy(None), parse_policy({"deployers": "developer"})) == (
        {},
        Policy(),
        Policy(),
    )
    assert not Policy().holds and policy.holds


@pytest.mark.parametrize(
    ("person", "asked_by", "policy", "answer", "says"),
    [
        (DEV, "bob", {}, FINE, ""),
        (DEV, "ada", {}, REFUSED, "You asked for this rollout yourself. Another person has to approve it."),
        (ADMIN, "ada", {}, REFUSED, "yourself"),
        (DEV, "", {}, FINE, ""),
        (CI, "bob", {}, REFUSED, "A project's token approves nothing."),
        (DEV, "bob", {"deployers": "admin"}, REFUSED, "Ask a project admin."),
        (DEV, "bob", {"deployers": ["bob", "eve"]}, REFUSED, "bob, eve may."),
        # Else nobody could, where only one is named.
        (ADMIN, "bob", {"deployers": ["bob"]}, FINE, ""),
    ],
)
def test_who_may_approve(person: Person, asked_by: str, policy: dict[str, Any], answer: Answer, says: str) -> None:
    ruling = may_decide(parse_policy(policy), "eu", person, asked_by)
    assert (ruling.answer, says in f"{ruling.message} {ruling.hint}") == (answer, True), ruling
