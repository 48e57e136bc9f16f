"""A deployment as rows over two toy clusters: the real services, rounds and rows of the queue, in any order.

Only Kubernetes and the clock are played. A round runs only when its row of work is due, so that what nobody asks for is
never done; between the decision of a round and its record anything may happen, the end of its process too.
"""

import functools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core import work
from apps.core.access import Principal
from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.states import Health
from apps.core.work import DONE, Again, Away, Retry
from apps.core.work.resync import resync
from apps.deployments import holdings, services
from apps.deployments import reconcile as shell
from apps.deployments.health import ReplicaSeen
from apps.deployments.models import Approval, Deployment, Placement, Rollout, Target
from apps.deployments.reconcile import routing, scaling
from apps.deployments.reconcile.scaling import Scaling
from apps.deployments.rollout.decisions import Decision
from apps.deployments.rollout.policy import FROZEN, REJECTED, UNAPPROVED
from apps.deployments.rollout.strategy import Kind, parse_strategy
from apps.deployments.rollout.traffic import TO_SERVICE, Selected
from apps.deployments.selectors.placements import stage_of
from apps.deployments.selectors.replicas import pods_of
from apps.deployments.services import observing
from apps.deployments.services.common import CLOCK, KIND
from apps.deployments.services.rollouts import tick
from apps.deployments.states import UNFINISHED
from tests import factories
from tests.deployments import toycluster
from tests.deployments.toyapplying import ToyApplying
from tests.deployments.toygateway import Gateway
from tests.deployments.toystrategies import STRATEGIES

TARGETS = ("eu", "us")


# Seconds after which nobody waits for anything: what is looked at now and then comes later.
NEVER = 1e6


class Killed(Exception):
    """The process ends here."""


class RowFleet:
    """One deployment on two targets, and all that may happen to it."""

    def __init__(self, seed: int, patched: pytest.MonkeyPatch, root: Principal, project: Project) -> None:
        self.random = random.Random(seed)
        self.root, self.project = root, project
        self.late = timedelta()
        self.toys: dict[int, toycluster.Cluster] = {}
        # The autoscaler of each placement that has one: the revision that it scales, and how it was asked for.
        self.scalers: dict[int, tuple[int, Scaling]] = {}
        self.selected: dict[int, Selected] = {}
        # The Gateways of the placements whose target names one.
        self.gateways: dict[int, Gateway] = {}
        # What API servers refuse, by placement and by object ("r2", "Service", "HTTPRoute", "scaler"), with the status.
        self.refused: dict[tuple[int, str], int] = {}
        self.bad: set[int] = set()
        self.loud: set[int] = set()
        self.log: list[str] = []
        self.is_calm = False
        self.targets = list(TARGETS)
        self.other = Principal(user=factories.member(project, "approver"))
        # The targets that ask for approval, with the newest rollout from before they did.
        self.gated: dict[str, int] = {}
        # Since when more are wanted than are to be spread.
        self.over_since: datetime | None = None
        self._patch(patched)
        # A shadow goes where all targets have a Gateway; elsewhere it is refused.
        has_gateways = self.random.random() < 0.3
        for name in TARGETS:
            factories.cluster(name)
            gateway = {"name": "g", "namespace": "n"} if has_gateways or self.random.random() < 0.5 else None
            services.create_target(principal=root, project=project, name=name, cluster=name, gateway=gateway)
        self.app = services.create_deployment(
            principal=root,
            project=project,
            asked=services.NewDeployment(
                name="app",
                targets=TARGETS,
                replicas=self.random.randint(1, 4),
                spec={"image": "team/server:1", "strategy": self._strategy()},
            ),
        )
        self.toys = {place.pk: toycluster.Cluster() for place in self.app.places}
        self.gateways = {place.pk: Gateway(timezone.now()) for place in self.app.places if place.target.gateway}
        self._judge(1)

    def _patch(self, patched: pytest.MonkeyPatch) -> None:
        fleet, now = self, timezone.now

        def observe(client: Any, *_: Any) -> Any:
            return toycluster.ToyLive(dict(fleet.toys[client].seen))  # type: ignore[arg-type]

        def client_of(cluster: Cluster) -> Any:
            if observing.is_away(cluster):
                raise shell.Unreachable(0, "Timeout", "No answer.")
            return Placement.objects.get(target__cluster=cluster).pk

        ask = work.ask

        def ask_in_time(kind: str, pk: int, *, after: float = 0.0, **how: Any) -> None:
            # The clock of the test's transaction stands still: what has a time is due so much later.
            ask(kind, pk, after=after and after + fleet._since_begin(), **how)

        patched.setattr(work, "ask", ask_in_time)
        patched.setattr(routing, "NOW_AND_THEN", timedelta(seconds=2 * NEVER))
        patched.setattr(timezone, "now", lambda: now() + fleet.late)
        patched.setattr(shell, "_client", client_of)
        patched.setattr(shell, "observe", observe)
        patched.setattr(shell, "_with_leaving", lambda client, identity, seen: seen)
        patched.setattr(scaling, "counted_by", lambda _: "")
        patched.setattr(scaling, "_scalers", lambda *_, **__: scaling._Scalers())
        patched.setattr(shell, "Applying", functools.partial(ToyApplying, fleet))
        patched.setattr(shell.selectors, "pods_on", self._pods)
        patched.setattr(shell.selectors, "replicas_of", self._replicas)

    def _pods(self, of: Any) -> Any:
        rows = pods_of(of)
        rows.placement = of  # type: ignore[attr-defined]
        return rows

    def _replicas(self, pods: Any, *, is_late: bool = False) -> list[ReplicaSeen]:
        toy = self.toys.get(pods.placement.pk) or toycluster.Cluster()
        return [
            ReplicaSeen(f"app-r{number}", number, False, Health.DEGRADED, "Error", "It crashes.")
            for number, seen in toy.seen.items()
            if number in self.loud and seen.existing
        ]

    def select(self, pk: int, revision: int | None, wanted: int) -> None:
        """The Service of a placement selects this revision; what it selects has as much to serve with as before."""
        before, seen = self.selected.get(pk), self.toys[pk].seen
        if before is not None and before.revision == revision:
            return
        if before is not None and revision is not None:
            ready = {number: each.surely_ready for number, each in seen.items()}
            had = sum(count for number, count in ready.items() if before.revision in (None, number))
            assert ready.get(revision, 0) >= min(had, wanted), (pk, revision, seen, self.story)
        self.selected[pk] = Selected(revision, timezone.now())

    def keeps_capacity(self, place: Placement, decision: Decision, desired: int) -> None:
        """What requests come to stays as much as there was, or as is wanted, also when Kubernetes has acted."""
        stage, before, seen = stage_of(place), self.selected.get(place.pk), self.toys[place.pk].seen
        kind = parse_strategy((stage.rollout if stage else place.deployment).strategy).kind
        if kind is Kind.RECREATE or place.serving is None:
            return
        had = sum(each.surely_ready for n, each in seen.items() if before is None or before.revision in (None, n))
        takers = {number: each for number, each in seen.items() if decision.traffic.takes(number)}
        kept = sum(min(each.surely_ready, decision.replicas.get(n, each.wanted)) for n, each in takers.items())
        assert kept >= min(had, desired), (place, decision, seen, self.story)

    def may_die(self) -> None:
        if not self.is_calm and self.random.random() < 0.05:
            raise Killed

    def meanwhile(self) -> None:
        if not self.is_calm and self.random.random() < 0.15:
            self.act()

    def note(self, what: str) -> None:
        self.log.append(what)

    # -- what may happen

    def act(self) -> None:
        """One thing that a person, a cluster or Kubernetes does."""
        acts: list[Callable[[], None]] = [
            self._kubernetes, self._kubernetes, self._kubernetes, self._kubernetes,
            self._crash, self._go_away, self._come_back, self._come_back, self._person, self._person, self._person,
            self._give_up, self._lose, self._load, self._load, self._decide, self._decide, self._take, self._refuse,
        ]  # fmt: skip
        self.random.choice(acts)()

    def _kubernetes(self) -> None:
        pk = self.random.choice(list(self.toys))
        toy = self.toys[pk]
        for number in list(toy.seen):
            before = toy.seen[number]
            toy.act(number, 0 if number in self.bad else self.random.randint(0, 3))
            if toy.seen[number] != before:
                self._watched(pk)

    def autoscale(self, place: Placement, scaling: Scaling) -> None:
        """Kubernetes is told of an autoscaler, or that there shall be none."""
        self.scalers.pop(place.pk, None)
        if scaling.policy is not None and place.serving is not None:
            self.scalers[place.pk] = (place.serving.number, scaling)

    def _load(self) -> None:
        """An autoscaler follows the load: within its bounds, and only upwards while it holds."""
        for pk, (number, asked) in self.scalers.items():
            toy, policy = self.toys.get(pk), asked.policy
            if toy is None or policy is None or number not in toy.seen or not toy.seen[number].wanted:
                continue
            had = toy.seen[number].wanted
            least = had if asked.holds else policy.bounds.least
            count = policy.bounds.clamp(self.random.randint(least, max(least, policy.bounds.most)))
            if count != had:
                toy.apply({number: count})
                self.note(f"placement {pk} is autoscaled from {had} to {count}")
                self._watched(pk)

    def _take(self) -> None:
        """A Gateway's controller looks; now and then it refuses what it sees."""
        for gateway in self.gateways.values():
            gateway.refuses = self.random.random() < 0.2
            gateway.act(timezone.now(), takes=True)

    def _refuse(self) -> None:
        """An API server refuses an object from now on, or all of them no more."""
        pk, status = self.random.choice(list(self.toys)), self.random.choice([403, 422, 500, 0, 0])
        if status:
            newest = Deployment.objects.get(pk=self.app.pk).last_revision
            what = self.random.choice([f"r{newest}", f"r{newest}", "Service", "HTTPRoute", "scaler"])
            self.refused[pk, what] = status
            self.note(f"placement {pk}: {what} is refused ({status})")
        else:
            self.refused.clear()
            self.note("nothing is refused")

    def _crash(self) -> None:
        pk = self.random.choice(list(self.toys))
        for number in list(self.toys[pk].seen):
            self.toys[pk].crash(number, 1)
        self._watched(pk)

    def _watched(self, pk: int) -> None:
        """The watcher tells of a change, once the cluster can be reached."""
        place = Placement.objects.select_related("target__cluster").get(pk=pk)
        work.ask(KIND, pk, cluster=place.target.cluster_id)

    def _cluster(self, state: str, name: str) -> None:
        with transaction.atomic():
            Cluster.objects.filter(name=name).update(state=state, reason="Timeout", message="No answer.")
            observing.follow_cluster(Cluster.objects.get(name=name))
        self.note(f"{name} {state}")

    def _go_away(self) -> None:
        self._cluster(self.random.choice(["Unreachable", "Disabled"]), self.random.choice(self.targets))

    def _give_up(self) -> None:
        """A cluster is gone for good, now and then."""
        if len(self.targets) == 1 or self.random.random() > 0.1:
            return
        name = self.targets.pop(self.random.randrange(2))
        place = Placement.objects.get(target__name=name)
        with transaction.atomic():
            holdings.give_up(place.target.cluster_id, self.root)
        del self.toys[place.pk]
        self.note(f"{name} is given up")

    def _lose(self) -> None:
        """All that was asked for is lost, as by a defect of ours; the net under the queue finds it again."""
        if self.random.random() < 0.3:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM core_work")
            resync(0)
            self.note("work is lost")

    def _come_back(self) -> None:
        self._cluster("Healthy", self.random.choice(self.targets))

    def _person(self) -> None:
        presses: dict[str, Callable[[], object]] = {
            "good": lambda: self.revise(0.0),
            "any": lambda: self.revise(0.6),
            "abort": lambda: services.abort(**self._who),
            "promote": lambda: services.promote(**self._who),
            "full": lambda: services.promote(**self._who, full=True),
            "pause": lambda: services.pause(**self._who),
            "resume": lambda: services.resume(**self._who),
            "rollback": lambda: services.rollback(**self._who),
            "restart": lambda: self._restart(),
            "scale": lambda: services.scale(
                **self._who, replicas=self.random.randint(0, 4), target=self.random.choice(["", *self.targets])
            ),
            "autoscale": lambda: services.set_autoscaling(
                **self._who, autoscaling={"min": self.random.randint(1, 2), "max": self.random.randint(2, 6)}
            ),
            "people": lambda: services.stop_autoscaling(**self._who),
            "strategy": lambda: services.set_strategy(**self._who, strategy=self.random.choice(STRATEGIES)),
            "policy": self._policy,
            "spread": lambda: services.set_spread(**self._who, spread=self._spread()),
            "own numbers": lambda: services.set_spread(**self._who, spread=None),
        }
        name = self.random.choice(list(presses))
        self.press(name, presses[name])

    def _spread(self) -> dict[str, int]:
        return {"replicas": self.random.randint(1, 6), "grace_seconds": 5, "return_after_seconds": 5}

    def _strategy(self) -> dict[str, Any]:
        """One that a person may choose here."""
        gateways = set(Target.objects.values_list("gateway__name", flat=True))
        return self.random.choice([each for each in STRATEGIES if gateways == {"g"} or each["kind"] != "shadow"])

    def _policy(self) -> None:
        """A target asks for approval from now on, or is frozen for a few minutes, or allows everything."""
        name, now = self.random.choice(self.targets), timezone.now()
        until = now + timedelta(minutes=self.random.randint(1, 5))
        window = {"name": "busy", "from": f"{now:%Y-%m-%d %H:%M}", "until": f"{until:%Y-%m-%d %H:%M}"}
        policy = self.random.choice([{"approval": True}, {"freezes": [window]}, {}])
        services.edit_target(principal=self.root, target=Target.objects.get(name=name), policy=policy)
        self.gated.pop(name, None)
        if "approval" in policy:
            newest = Rollout.objects.order_by("-pk").first()
            self.gated[name] = newest.pk if newest else 0
        self.note(f"{name} allows {policy}")

    def _decide(self) -> None:
        """Another person answers what waits for approval."""
        for approval in Approval.objects.filter(state="Waiting").select_related("rollout__deployment__project"):
            yes = self.is_calm or self.random.random() < 0.8
            answer = services.approve if yes else services.reject
            self.press(answer.__name__, lambda answer=answer, approval=approval: answer(
                principal=self.other, approval=approval, comment="It has been looked at.",
            ))  # fmt: skip

    def press(self, name: str, what: Callable[[], object]) -> None:
        try:
            what()
            self.note(f"{name}: done")
        except FlotillaError as error:
            self.note(f"{name}: {error.sentence}")
        self._copies()

    @property
    def _who(self) -> dict[str, Any]:
        return {"principal": self.root, "deployment": self.app}

    def revise(self, badness: float) -> None:
        tag = str(self.random.random())
        revision, new = services.deploy_revision(**self._who, changes={"env": {"TAG": tag}})
        if new:
            self._judge(revision.number, badness)

    def _restart(self) -> None:
        services.restart(**self._who)

    def _judge(self, number: int, badness: float = 0.0) -> None:
        if self.random.random() < badness:
            self.bad.add(number)
            if self.random.random() < 0.5:
                self.loud.add(number)
            self.note(f"r{number} is bad")

    def _copies(self) -> None:
        """A copy is as bad as what it copies."""
        for number, of in self.app.revisions.exclude(copied_from=None).values_list("number", "copied_from"):
            for those in (self.bad, self.loud):
                if of in those:
                    those.add(number)

    # -- the queue

    def work_off(self) -> bool:
        """One round of the queue that is due, if there is one; whether there was."""
        rows = self._due()
        if not rows:
            return False
        kind, pk = self.random.choice(rows)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM core_work WHERE kind = %s AND object_id = %s", [kind, pk])
        cluster = None
        if kind == KIND:
            cluster = Placement.objects.values_list("target__cluster_id", flat=True).filter(pk=pk).first()
        try:
            outcome = tick(pk) if kind == CLOCK else shell.reconcile(pk)
        except Killed:
            self.note(f"{kind} {pk}: killed")
            outcome = Again(0.0)
        self.check()
        if isinstance(outcome, Away):
            outcome = Again(0.0)
        if isinstance(outcome, Retry):
            assert self.refused, (outcome, self.story)
            # As the queue does, but for the lengthening of the pause.
            outcome = Again(4.0 if outcome.at_most is None else min(4.0, outcome.at_most))
        if outcome != DONE:
            assert isinstance(outcome, Again), outcome
            work.ask(kind, pk, cluster=cluster, after=outcome.after)
        return True

    def _since_begin(self) -> float:
        """How long ago the transaction of the test began: what is asked for is due so long after that."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp() - now())")
            return float(cursor.fetchone()[0])

    def _due(self) -> list[tuple[str, int]]:
        away = {pk for pk, cluster in self._clusters().items() if observing.is_away(cluster)}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT kind, object_id FROM core_work WHERE kind IN (%s, %s) "
                "AND due_at <= clock_timestamp() + interval '0.3 s' ORDER BY 1, 2",
                [KIND, CLOCK],
            )
            return [(kind, pk) for kind, pk in cursor.fetchall() if kind == CLOCK or pk not in away]

    def _clusters(self) -> dict[int, Cluster]:
        return {place.pk: place.target.cluster for place in Placement.objects.select_related("target__cluster")}

    def pass_time(self) -> bool:
        """The next timer is due; whether there is one."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, extract(epoch FROM due_at - clock_timestamp()) FROM core_work WHERE kind IN (%s, %s) "
                "AND due_at > clock_timestamp() + interval '0.3 s' ORDER BY due_at LIMIT 1",
                [KIND, CLOCK],
            )
            row = cursor.fetchone()
            if row is None or row[1] > NEVER:
                return False
            self.late += timedelta(seconds=float(row[1]))
            cursor.execute(
                "UPDATE core_work SET due_at = due_at - %s * interval '1 second' WHERE kind IN (%s, %s)",
                [float(row[1]), KIND, CLOCK],
            )
        return True

    # -- what must hold

    def check(self) -> None:
        """At any time."""
        unfinished = Rollout.objects.filter(state__in=UNFINISHED).first()
        # One that brings what serves to a target that was shut goes there alone.
        goes_to = set(unfinished.stages.values_list("placement_id", flat=True)) if unfinished else set()
        for place in Placement.objects.select_related("target"):
            comes = unfinished.to_revision_id if unfinished and place.pk in goes_to else None
            assert place.coming_id == comes, (place, self.story)
        self._check_gates(unfinished)
        self._check_spread(is_rolling=unfinished is not None)
        last = Rollout.objects.order_by("-pk").first()
        if last is not None and last.state in ("Aborted", "Failed"):
            assert Deployment.objects.get(pk=self.app.pk).current_id == last.from_revision_id, self.story

    def _check_gates(self, rollout: Rollout | None) -> None:
        """Nothing of it is where another person has to approve it first, and has not."""
        approved = (
            set(rollout.approvals.filter(state="Approved").values_list("target__name", flat=True)) if rollout else ()
        )
        for name, newest in self.gated.items():
            if rollout is None or rollout.pk <= newest or name in (*rollout.proven, *approved):
                continue
            stage = rollout.stages.filter(placement__target__name=name).first()
            assert stage is None or not stage.share, (name, stage, self.story)

    def _check_spread(self, *, is_rolling: bool) -> None:
        """As many are wanted as are to be spread, and for a while more: who takes a part over starts first."""
        app = Deployment.objects.get(pk=self.app.pk)
        wanted = sum(app.placements.values_list("desired_replicas", flat=True))
        asked = app.spread["replicas"] if app.spread else None
        assert asked is None or wanted >= asked, (wanted, self.story)
        # What a revision that never becomes ready holds up is not given up before.
        if not self.is_calm or is_rolling or asked is None or wanted == asked:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = timezone.now()
        else:
            assert timezone.now() - self.over_since < timedelta(minutes=2), (wanted, self.story)

    def settle(self) -> None:
        """Everything is well from now on, until nothing moves any more."""
        self.is_calm = True
        self.refused.clear()
        for name in self.targets:
            self._cluster("Healthy", name)
        for _ in range(600):
            moved = False
            for _round in range(200):
                if not self.work_off():
                    break
                moved = True
            else:
                pytest.fail(f"rounds follow each other without an end: {self._due()}\n{self.story}")
            for pk, toy in self.toys.items():
                before = dict(toy.seen)
                toy.settle(self.bad)
                if toy.seen != before:
                    moved = True
                    self._watched(pk)
            if moved or self._help():
                continue
            if not self.pass_time():
                break

    def _help(self) -> bool:
        """What waits for a person is given its word."""
        rollout = Rollout.objects.filter(state__in=UNFINISHED).first()
        if rollout is None:
            current = Deployment.objects.get(pk=self.app.pk).current
            if current is not None and current.number in self.bad:
                self.press("good at the end", lambda: self.revise(0.0))
                return True
            return False
        number = rollout.to_revision.number
        from_bad = rollout.from_revision is not None and rollout.from_revision.number in self.bad
        is_stuck = from_bad or (rollout.state == "Degraded" and number in self.bad)
        if rollout.state in ("Degraded", "RollingBack") and is_stuck:
            self.press("good at the end", lambda: self.revise(0.0))
            return True
        if rollout.reason in (UNAPPROVED, FROZEN):
            self._decide()
            return rollout.reason == UNAPPROVED
        if rollout.reason == REJECTED:
            self.press("good at the end", lambda: self.revise(0.0))
            return True
        if rollout.state == "Paused" or rollout.reason == "AnalysisFailed":
            self.press("full at the end", lambda: services.promote(**self._who, full=True))
            return True
        return False

    @property
    def story(self) -> str:
        """What happened, a line each."""
        return "\n".join(self.log)

    def differs(self) -> list[str]:
        """What does not stand as it is wanted: nothing, once everything has settled."""
        app = Deployment.objects.select_related("current", "stable").get(pk=self.app.pk)
        rows = list(app.placements.select_related("stable", "coming", "target"))
        left = Rollout.objects.filter(state__in=UNFINISHED).first()
        wrong = [f"not ended: {left.state} at {left.step} of {left.plan}, {left.message}"] if left else []
        if app.current is None or app.current != app.stable:
            wrong.append(f"wanted {app.current}, stable {app.stable}")
        number = app.current.number if app.current else 0
        for row in rows:
            if (row.stable, row.coming, row.weight, row.mirror) != (app.current, None, 0, 0):
                wrong.append(f"{row.target}: {row.stable} serves, and {row.weight} % of {row.coming}")
            wanted = {number: row.wanted_replicas} if row.wanted_replicas else {}
            kind = parse_strategy(app.strategy).kind
            selects = self.selected[row.pk].revision
            gateway = self.gateways.get(row.pk)
            if gateway is not None and (gateway.route, gateway.own) != (TO_SERVICE, {}):
                wrong.append(f"{row.target}: the route says {gateway.route}, {gateway.own} have Services of their own")
            is_one = kind is Kind.BLUE_GREEN or (kind in (Kind.CANARY, Kind.SHADOW) and gateway is not None)
            if selects != (number if is_one else None):
                wrong.append(f"{row.target}: the Service selects {selects} under {kind}")
            if self.toys[row.pk].wanted != wanted:
                wrong.append(f"{row.target}: {self.toys[row.pk].seen}, not {wanted}")
        if app.spread is not None and sum(row.desired_replicas for row in rows) != app.spread["replicas"]:
            wrong.append(f"{app.spread} is spread as {[row.desired_replicas for row in rows]}")
        if app.observed_generation != app.generation:
            wrong.append(f"generation {app.generation}, observed {app.observed_generation}")
        if app.health not in (Health.HEALTHY, Health.SUSPENDED):
            wrong.append(f"{app.health}: {app.message}")
            scaled = self.scalers.get(row.pk)
            if (scaled is not None) != bool(app.autoscaling) or (scaled and (scaled[0] != number or scaled[1].holds)):
                wrong.append(f"{row.target} is scaled by {scaled}")
            if (row.scaled_to is None) == bool(app.autoscaling):
                wrong.append(f"{row.target} is scaled to {row.scaled_to}")
        if app.ready_replicas != sum(row.wanted_replicas for row in rows):
            wrong.append(f"{app.ready_replicas} ready")
        return wrong
