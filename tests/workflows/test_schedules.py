"""Pipelines that the clock starts: when, and what happens where the former run goes on or nobody was there."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.core.errors import Conflict, Invalid
from apps.core.models import AuditEntry
from apps.core.work import DONE, Again
from apps.core.work.models import Work
from apps.workflows import selectors, services
from apps.workflows.decision.due import LATE, Tick, tick
from apps.workflows.models import PipelineRun, Schedule
from apps.workflows.reconcile import reconcile_schedule
from apps.workflows.specs.timetables import Missed, Overlap, Timetable, parse_timetable
from tests.killing import killed_after

NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
ONE_O_CLOCK, FOUR = NOON + timedelta(hours=1), NOON + timedelta(hours=4)
HOURLY = Timetable("0 * * * *")
ONE = "name: one\nparams: {n: 1}\nsteps:\n  - {name: only, run: {image: busybox}}\n"


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        (("* * * *", "UTC", "allow", "skip"), "cron", "five fields"),
        (("0 * * * * *", "UTC", "allow", "skip"), "cron", "five fields"),
        (("61 * * * *", "UTC", "allow", "skip"), "cron", "no cron expression"),
        (("0 0 31 4,6 *", "UTC", "allow", "skip"), "cron", "Bad day-of-month"),
        (("@sometimes", "UTC", "allow", "skip"), "cron", "five fields"),
        (("@daily", "Mars/Olympus", "allow", "skip"), "time_zone", "no time zone"),
        (("@daily", "UTC", "queue", "skip"), "overlap", "allow, forbid, replace"),
        (("@daily", "UTC", "allow", "all"), "missed", "skip, once"),
    ],
)
def test_what_is_no_time_is_refused_at_its_field(asked, field, said):
    with pytest.raises(Invalid) as refused:
        parse_timetable(*asked)
    assert refused.value.field == field and said in refused.value.sentence


def test_a_time_is_that_of_its_zone_also_where_clocks_change():
    nightly = parse_timetable(" 30  2 * * * ", "Europe/Berlin", "allow", "skip")
    # On 29 March 2026 there is no 02:30 in Berlin: Debian's cron runs it right after the change.
    times = [f"{each:%d %H:%M %z}" for each in nightly.upcoming(datetime(2026, 3, 27, 12, tzinfo=UTC), 3)]
    assert times == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]
    autumn = nightly.upcoming(datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [f"{each:%d %H:%M}" for each in autumn] == ["25 02:30", "26 02:30"], "once in the hour that comes twice"
    assert parse_timetable("@daily", "UTC", "allow", "skip").words == "At 00:00 every day"


@pytest.mark.parametrize(
    ("overlap", "missed", "late", "under_way", "wanted"),
    [
        ("forbid", "once", 0, [], Tick(ONE_O_CLOCK, start=True)),
        ("forbid", "once", 0, [3], Tick(ONE_O_CLOCK, said="Left out 2026-12-01 12:00 UTC: #3 was still under way.")),
        ("allow", "once", 0, [3], Tick(ONE_O_CLOCK, start=True)),
        ("replace", "once", 0, [3, 4], Tick(ONE_O_CLOCK, True, (3, 4), "Replaced #3 and #4.")),
        ("allow", "once", 200, [], Tick(FOUR, start=True)),
        ("allow", "skip", 200, [], Tick(FOUR, said="Missed 2026-12-01 12:00 UTC: Flotilla was away.")),
        ("allow", "skip", 4, [], Tick(ONE_O_CLOCK, start=True)),
    ],
)  # fmt: skip
def test_what_a_schedule_does(overlap, missed, late, under_way, wanted):
    timetable = Timetable("0 * * * *", "UTC", Overlap(overlap), Missed(missed))
    assert tick(timetable, NOON, NOON + timedelta(minutes=late), under_way) == wanted


CRONS = st.sampled_from(["* * * * *", "0 * * * *", "30 2 * * *", "0 9 * * 1-5", "15 3 29 2 *", "0 0 1 1 *"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


@given(CRONS, ZONES, st.sampled_from(Overlap), st.sampled_from(Missed), st.data())
def test_a_time_starts_one_run_at_most_and_is_never_due_again(cron, zone, overlap, missed, data):
    timetable = Timetable(cron, zone, overlap, missed)
    now = NOON + timedelta(seconds=data.draw(st.integers(0, 4 * 366 * 86400)))
    due_at = tick(timetable, None, now, []).next_at
    for seconds in data.draw(st.lists(st.integers(0, 10**7), max_size=6)):
        now += timedelta(seconds=seconds)
        under_way = data.draw(st.lists(st.integers(1, 9), max_size=2))
        said = tick(timetable, due_at, now, under_way)
        assert said.next_at > now or said.next_at == due_at
        assert not (said.start and due_at > now), "never before its time"
        assert tick(timetable, said.next_at, now, under_way) == Tick(said.next_at), "asked again, it does nothing"
        if due_at <= now and not under_way and (missed is Missed.ONCE or now - due_at <= LATE):
            assert said.start
        due_at = said.next_at


@pytest.fixture
def schedule(ada, project, cluster) -> Schedule:
    version, _ = services.create_version(principal=ada, project=project, source=ONE)
    return services.create_schedule(
        principal=ada, pipeline=version.pipeline, name="nightly", timetable=HOURLY, params={"n": 2}
    )


def overdue(schedule: Schedule) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(minutes=2))


def test_a_schedule_starts_a_run_in_its_makers_name_and_waits_for_the_next_time(schedule, ada):
    outcome = reconcile_schedule(schedule.pk)
    assert isinstance(outcome, Again) and 0 < outcome.after <= 3600 and not PipelineRun.objects.exists()
    overdue(schedule)
    assert selectors.overdue() == [(schedule.pk, None)], "the resync finds it where a message was lost"
    outcome = reconcile_schedule(schedule.pk)
    run = PipelineRun.objects.get()
    assert (run.schedule, run.created_by, run.params) == (schedule, "ada", {"n": 2})
    assert isinstance(outcome, Again) and 0 < outcome.after <= 3600 and selectors.overdue() == []
    schedule.refresh_from_db()
    assert schedule.last_at is not None and schedule.said == ""
    overdue(schedule)
    reconcile_schedule(schedule.pk)
    schedule.refresh_from_db()
    assert PipelineRun.objects.count() == 1 and "#1 was still under way" in schedule.said


def test_replacing_cancels_the_former_run(schedule):
    Schedule.objects.update(overlap="replace")
    for _ in range(2):
        overdue(schedule)
        reconcile_schedule(schedule.pk)
    assert [run.state for run in PipelineRun.objects.order_by("number")] == ["Canceling", "Running"]


def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(schedule, ada):
    overdue(schedule)
    services.pause_schedule(principal=ada, schedule=schedule, paused=True)
    assert reconcile_schedule(schedule.pk) is DONE and selectors.overdue() == []
    row = services.pause_schedule(principal=ada, schedule=schedule, paused=False)
    assert row.next_at > timezone.now() and not PipelineRun.objects.exists()
    services.pause_schedule(principal=ada, schedule=schedule, paused=False)
    actions = AuditEntry.objects.filter(action__startswith="schedule").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["schedule.create", "schedule.pause", "schedule.resume"]


def test_what_it_can_not_start_is_said_and_tried_at_the_next_time(schedule, ada):
    ada.user.is_active = False
    ada.user.save()
    overdue(schedule)
    reconcile_schedule(schedule.pk)
    schedule.refresh_from_db()
    assert "could not start" in schedule.said and schedule.next_at > timezone.now()
    assert not PipelineRun.objects.exists()


def test_names_and_parameters_are_checked_when_it_is_made(schedule, ada):
    about = {"principal": ada, "pipeline": schedule.pipeline, "timetable": HOURLY}
    with pytest.raises(Conflict, match="already"):
        services.create_schedule(**about, name="nightly", params={})
    with pytest.raises(Invalid, match="no parameter 'm'"):
        services.create_schedule(**about, name="other", params={"m": 1})
    services.delete_schedule(principal=ada, schedule=schedule)
    assert reconcile_schedule(schedule.pk) is DONE and not Work.objects.filter(kind="schedule").exists()


def test_a_worker_that_dies_at_any_statement_starts_no_run_twice_and_loses_none(schedule):
    overdue(schedule)
    for statements in range(1, 80):
        with transaction.atomic():
            with killed_after(statements) as sent:
                reconcile_schedule(schedule.pk)
            transaction.set_rollback(sent[-1:] == ["killed"])
        if sent[-1:] != ["killed"]:
            break
        assert not PipelineRun.objects.exists() and selectors.overdue(), "nothing of it is left, and it is due still"
    assert PipelineRun.objects.count() == 1 and statements > 5
