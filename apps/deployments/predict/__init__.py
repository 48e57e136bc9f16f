"""Predictions through Flotilla: a ready replica by turns, and another one when it surely did not get the request.

What may have been carried out is never repeated: it may have crashed the server that it met, and would crash the next
one, or have cost or changed something. A request that reached no server goes on to another replica until the deadline;
one that a server declined goes to one more. Nothing is written to Postgres.
"""

import functools
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.utils import timezone

from apps.clusters.kube import slots
from apps.clusters.kube.answers import encode as as_json
from apps.clusters.kube.client import KubeClient, ProxyReply
from apps.clusters.kube.errors import KubeError, Unreachable
from apps.clusters.services import connect, is_away
from apps.core.access import Principal, require_role
from apps.core.database import connections
from apps.core.errors import Conflict, FlotillaError, Invalid, Unavailable
from apps.core.states import Role
from apps.deployments import selectors
from apps.deployments.models import Deployment
from apps.deployments.predict.fates import Fate, fate_of_answer, words_of_answer
from apps.deployments.scaling.schedule import in_force_of
from apps.deployments.states import DeploymentState

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 2 * 1024 * 1024
DEADLINE_SECONDS = 10.0
# Model servers that one request may meet: the first, and one more when the first says that it didn't take it on.
MAX_DELIVERIES = 2
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5


class ModelFailed(FlotillaError):
    """The model server answered with an error of its own."""

    status = 502
    title = "The model server failed"


class BrokenOff(FlotillaError):
    """The connection to a replica ended before the answer: whether the request was carried out is not known."""

    status = 502
    title = "The replica broke off"


class PredictionTimedOut(FlotillaError):
    """No replica gave an answer before the deadline."""

    status = 504
    title = "No answer in time"


@dataclass(frozen=True)
class Candidate:
    """A replica that may be asked."""

    name: str
    revision: int
    cluster: int = 0
    namespace: str = ""


@dataclass(frozen=True)
class Prediction:
    """The model's answer, who gave it, and what it took. `latency_ms` is of the attempt that succeeded."""

    answer: dict[str, Any]
    replica: str
    revision: int
    latency_ms: float
    total_ms: float
    attempts: int


def choose(ready: Sequence[Candidate], tried: Collection[str], turn: int) -> Candidate | None:
    """The replica whose turn it is, those that were not tried yet first. None when none is ready."""
    fresh = [candidate for candidate in ready if candidate.name not in tried]
    pool = fresh or list(ready)
    return pool[turn % len(pool)] if pool else None


def pauses() -> "itertools.chain[float]":
    """Seconds to wait before the next look when every ready replica was tried: 0.05, 0.1, … 0.5, 0.5."""
    growing = itertools.takewhile(
        lambda pause: pause < LONGEST_PAUSE_SECONDS, (FIRST_PAUSE_SECONDS * 2**power for power in itertools.count())
    )
    return itertools.chain(growing, itertools.repeat(LONGEST_PAUSE_SECONDS))


class _Turns:
    """Round robin for each deployment, in this process."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, pk: int) -> int:
        with self._lock:
            turn = self._next.get(pk, 0)
            self._next[pk] = turn + 1
            return turn


_turns = _Turns()


def predict(*, principal: Principal, deployment: Deployment, body: Any, preview: bool = False) -> Prediction:
    """Ask the model. `body` is an Open Inference v2 request: `{"inputs": […]}`. Needs the developer role.

    With `preview`, the revision that is looked at before it serves is asked. Raises Conflict where there is none.

    Raises Invalid for a bad body and for what the model server refuses (its own words), Unavailable when no replica
    is ready or they decline, PredictionTimedOut when none answered in time, ModelFailed when the model server failed,
    BrokenOff when it went away before it answered.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    payload = encode(body)
    if deployment.state != DeploymentState.ACTIVE or deployment.current is None:
        raise Conflict(f"{deployment.name} is being deleted.")
    if preview and not deployment.previews:
        raise Conflict(
            f"{deployment.name} has no preview now.",
            hint="One comes with the next blue-green rollout; without preview, what serves is asked.",
        )
    if not deployment.wanted_replicas and not selectors.serving_replicas(deployment, preview=preview):
        # From rows alone: the first connection of a process takes a second or two.
        raise _scaled_to_zero(deployment)
    return _Asking(_Clients(deployment), deployment, payload, preview=preview).run()


def describe(*, principal: Principal, deployment: Deployment) -> dict[str, Any]:
    """What the model says of its inputs and outputs (`GET /v2/models/<name>`), asked of one replica, once.

    Raises Unavailable when no replica is ready or it does not say.
    """
    require_role(principal, deployment.project, Role.VIEWER)
    ready = selectors.serving_replicas(deployment)
    if not ready:
        raise Unavailable(f"No replica of {deployment.name} is ready.")
    name, revision, cluster, namespace = ready[0]
    port, model = _endpoint(deployment.pk, revision)
    path = f"/v2/models/{quote(model or deployment.name, safe='')}"
    client = _Clients(deployment)(cluster)
    try:
        reply = client.proxy_pod(namespace, name, port, "GET", path, timeout=2.0)
        said = json.loads(reply.body)
    except (KubeError, ValueError) as error:
        raise Unavailable(f"{name} does not describe its model.") from error
    if reply.status != 200 or not isinstance(said, dict):
        raise Unavailable(f"{name} does not describe its model (HTTP {reply.status}).")
    return said


def encode(body: Any) -> bytes:
    """The request's bytes. Raises Invalid when it is no inference request or is too large."""
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), list) or not body["inputs"]:
        raise Invalid(
            "A prediction needs a list of inputs.",
            field="inputs",
            hint='{"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP64", "data": […]}]}',
        )
    known = {key: body[key] for key in ("id", "inputs", "parameters", "outputs") if key in body}
    try:
        payload = as_json(known)
    except (ValueError, RecursionError) as error:
        raise Invalid("The inputs hold what is no text or no number of JSON.", field="inputs") from error
    if len(payload) > MAX_BODY_BYTES:
        raise Invalid(f"The inputs are larger than {MAX_BODY_BYTES // 1024 // 1024} MiB.", field="inputs")
    return payload


class _Clients:
    """A client for each cluster that the deployment is placed on, made when it is first needed."""

    def __init__(self, deployment: Deployment) -> None:
        self._clusters = {place.target.cluster_id: place.target.cluster for place in deployment.places}
        self._made: dict[int, KubeClient] = {}

    def __call__(self, cluster: int) -> KubeClient:
        """The client. Raises what `connect` raises."""
        if cluster not in self._made:
            self._made[cluster] = connect(self._clusters[cluster])
        return self._made[cluster]


class _Asking:
    """One prediction on its way from replica to replica."""

    def __init__(
        self,
        client_of: Callable[[int], KubeClient],
        deployment: Deployment,
        payload: bytes,
        *,
        preview: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client_of, self._deployment, self._payload, self._preview = client_of, deployment, payload, preview
        self._clock, self._sleep = clock, sleep
        self._started = clock()
        self._tried: set[str] = set()
        self._attempts = 0
        self._declined = 0
        self._last_trouble = ""

    def run(self) -> Prediction:
        for pause in pauses():
            prediction = self._round()
            if prediction is not None:
                return prediction
            if self._left() <= pause or (not self._attempts and not self._deployment.wanted_replicas):
                raise self._gave_up()
            connections.let_go()
            self._sleep(pause)
        raise AssertionError("unreachable: pauses never end")

    def _round(self) -> Prediction | None:
        """Ask every ready replica once, in turn; the ready set is read again before each attempt."""
        self._tried.clear()
        while self._left() > 0:
            ready = self._candidates()
            chosen = choose(ready, self._tried, _turns.take(self._deployment.pk))
            if chosen is None or chosen.name in self._tried:
                return None
            self._tried.add(chosen.name)
            prediction = self._attempt(chosen)
            if prediction is not None:
                return prediction
        return None

    def _candidates(self) -> list[Candidate]:
        """The ready replicas; those on a cluster that is away only where there is no other."""
        rows = selectors.serving_replicas(self._deployment, preview=self._preview)
        ready = [Candidate(*row) for row in rows]
        away = {place.target.cluster_id for place in self._deployment.places if is_away(place.target.cluster)}
        return [candidate for candidate in ready if candidate.cluster not in away] or ready

    def _attempt(self, replica: Candidate) -> Prediction | None:
        """The answer of one replica, or None when another one may be asked."""
        self._attempts += 1
        asked = self._clock()
        port, model = _endpoint(self._deployment.pk, replica.revision)
        client = self._client_of(replica.cluster)
        try:
            with slots.prediction(replica.cluster):
                reply = client.proxy_pod(
                    replica.namespace,
                    replica.name,
                    port,
                    "POST",
                    f"/v2/models/{quote(model or self._deployment.name, safe='')}/infer",
                    body=self._payload,
                    # The request won't be repeated, so it may take all the time that there is.
                    timeout=max(0.1, self._left()),
                )
        except Unreachable as error:
            if error.sent:
                raise self._unsure(replica, error.message) from error
            self._note(replica, error.message)
            return None
        except KubeError as error:
            raise Unavailable(f"The cluster refuses to pass predictions on: {error.message}") from error
        if not self._is_answer(reply, replica):
            return None
        latency = self._clock() - asked
        return Prediction(
            answer=self._checked(reply, replica),
            replica=replica.name,
            revision=replica.revision,
            latency_ms=round(latency * 1000, 2),
            total_ms=round((self._clock() - self._started) * 1000, 2),
            attempts=self._attempts,
        )

    def _is_answer(self, reply: ProxyReply, replica: Candidate) -> bool:
        """Whether the model server answered; False when another replica may be asked. Raises when none may be."""
        fate = fate_of_answer(reply.status, reply.body)
        if fate is Fate.ANSWERED:
            return True
        if fate is Fate.FORBIDDEN:
            raise Unavailable(
                "The cluster does not let Flotilla pass predictions on.", hint="Its role needs pods/proxy."
            )
        words = words_of_answer(reply.status, reply.body)
        if fate is Fate.UNSURE:
            raise self._unsure(replica, words)
        self._note(replica, words)
        if fate is Fate.DECLINED:
            self._declined += 1
            if self._declined >= MAX_DELIVERIES:
                name = self._deployment.name
                raise Unavailable(f"Replicas of {name} decline the request.", hint=f"The last: {self._last_trouble}")
        return False

    def _unsure(self, replica: Candidate, trouble: str) -> FlotillaError:
        """The error for a request that may have been carried out."""
        logger.info("prediction of deployment %s: %s: %s, not repeated", self._deployment.pk, replica.name, trouble)
        again = "It may have been carried out, so no other replica was asked; send it again if that is harmless."
        if self._left() <= 0:
            return PredictionTimedOut(f"{replica.name} did not answer within {DEADLINE_SECONDS:.0f} s.", hint=again)
        return BrokenOff(f"{replica.name} broke off before it answered: {trouble}", hint=again)

    def _checked(self, reply: ProxyReply, replica: Candidate) -> dict[str, Any]:
        try:
            answer = json.loads(reply.body)
        except ValueError:
            answer = None
        said = str(answer.get("error") or "") if isinstance(answer, dict) else ""
        if 400 <= reply.status < 500:
            raise Invalid(said or f"The model server refuses this with HTTP {reply.status}.", field="inputs")
        if reply.status >= 500 or not isinstance(answer, dict):
            raise ModelFailed(said or f"{replica.name} answered with HTTP {reply.status} and no JSON object.")
        return answer

    def _note(self, replica: Candidate, trouble: str) -> None:
        self._last_trouble = f"{replica.name}: {trouble}"
        logger.info("prediction of deployment %s: %s, asking another", self._deployment.pk, self._last_trouble)

    def _left(self) -> float:
        return DEADLINE_SECONDS - (self._clock() - self._started)

    def _gave_up(self) -> FlotillaError:
        name = self._deployment.name
        if not self._attempts and not self._deployment.wanted_replicas:
            return _scaled_to_zero(self._deployment)
        if not self._attempts:
            what = f"the preview of {name}" if self._preview else name
            return Unavailable(
                f"No replica of {what} is ready.", hint=self._deployment.message or "Look at its page for the reason."
            )
        return PredictionTimedOut(
            f"No replica of {name} answered within {DEADLINE_SECONDS:.0f} s ({self._attempts} attempts).",
            hint=f"The last: {self._last_trouble}",
        )


def _scaled_to_zero(deployment: Deployment) -> Unavailable:
    asleep = in_force_of(deployment, timezone.now()).asleep
    if asleep:
        return Unavailable(f"{deployment.name} is {asleep}: nothing answers.", hint="Wait, or change its schedule.")
    if deployment.reason == "Idle":
        hint = "KEDA starts it when a trigger of its autoscaling is active, which a request alone is not."
        return Unavailable(f"{deployment.name} is idle: nothing answers.", hint=hint)
    return Unavailable(f"{deployment.name} is scaled to zero: nothing answers.", hint="Scale it up first.")


@functools.lru_cache(maxsize=1024)
def _endpoint(deployment_pk: int, revision: int) -> tuple[int, str]:
    """(port, model name) of a revision; while one model replaces another, replicas of both are asked."""
    return selectors.endpoint(deployment_pk, revision)
