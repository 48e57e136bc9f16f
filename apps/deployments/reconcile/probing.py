"""A look of an analysis that sends requests: the same ones to a replica of each revision, on each of its targets.

It asks replicas by way of their cluster's API server, as predictions do. What it sends has been asked for by whoever
made the strategy; a request is sent once a round and never repeated. What says nothing of a replica, such as a silent
API server, ends the look without a verdict.
"""

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.utils import timezone

from apps.clusters.kube.answers import encode
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError
from apps.clusters.services import connect, is_away
from apps.core.errors import FlotillaError
from apps.core.text.subjects import about
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Placement
from apps.deployments.predict.examples import example_request
from apps.deployments.predict.fates import Blame, blame_of_answer, blame_of_error, why_unheard
from apps.deployments.reconcile.vigil import Vigil
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.probed import Exchange, Question, Reply, Tally, by_probe, tallied
from apps.deployments.services.analysing import answers_of

# Seconds for one request; what takes longer has failed.
REQUEST_SECONDS = 5.0


class Unheard(Exception):
    """Why a look says nothing of the replicas, in a sentence."""


NOTHING_RECORDED = "No request is recorded. Predict on the deployment's page, and keep the request."


def look(run: AnalysisRun, places: Sequence[Placement]) -> tuple[Measurement, list[Tally]]:
    """What both revisions answer on these targets now, and to each request so far."""
    deployment = run.rollout.deployment
    away = [place.target.name for place in places if is_away(place.target.cluster)]
    exchanges: list[Exchange] = []
    silent = f"{', '.join(away)} can't be asked." if away else ""
    ready = selectors.ready_replicas(deployment)
    given = _questions(run, deployment)
    if given == []:
        return by_probe(run.asked, [], timezone.now(), silent=NOTHING_RECORDED), []
    for place in places:
        if place.target.name in away:
            continue
        try:
            client = connect(place.target.cluster)
            asking = _Asking(client, deployment, place, ready)
            questions = given or asking.example(run.rollout.to_revision.number)
            new = asking.ask(run.rollout.to_revision.number, questions)
            old = asking.ask(place.stable.number, questions) if place.stable else []
            # Where none of the new revision is ready nobody was asked; where none of the other is, only the new one.
            answered: Sequence[Reply | None] = old or [None] * len(new)
            exchanges += [Exchange(*each) for each in zip(questions, new, answered, strict=False)]
        except (KubeError, FlotillaError) as error:
            silent = about(place.target.name, error.message, at=place.target.cluster.name)
        except Unheard as why:
            silent = about(place.target.name, str(why))
    # Where the whole rollout is looked at, the earlier revision is gone from those that were promoted.
    measurement = by_probe(run.asked, exchanges, timezone.now(), silent=silent, has_to_compare=run.step is not None)
    # What an interrupted look has found says as little of each request as of all.
    return measurement, tallied(answers_of(run), [] if silent else exchanges)


def _questions(run: AnalysisRun, deployment: Deployment) -> list[Question] | None:
    """The requests that are given, and those that are recorded if these are asked for; None where neither is."""
    given: list[dict[str, Any]] = run.asked.get("requests") or []
    recorded = run.asked.get("recorded", False)
    if not given and not recorded:
        return None
    questions = [Question(f"given-{at}", f"given request {at}", encode(body)) for at, body in enumerate(given, 1)]
    if recorded:
        kept = selectors.recordings_of(deployment)
        questions += [Question(f"recorded-{each.pk}", each.title, each.body.encode(), recorded=True) for each in kept]
    return questions


class _Asking:
    """Requests to the replicas of one placement."""

    def __init__(
        self,
        client: KubeClient,
        deployment: Deployment,
        place: Placement,
        ready: Sequence[tuple[str, int, int, str]],
    ) -> None:
        self._client, self._deployment, self._place, self._ready = client, deployment, place, ready

    def ask(self, revision: int, questions: Sequence[Question]) -> list[Reply]:
        """The replies of a ready replica of the revision; none where none is ready. Raises Unheard."""
        replica = self._replica(revision)
        if not replica:
            return []
        port, model = selectors.endpoint(self._deployment.pk, revision)
        path = f"/v2/models/{quote(model or self._deployment.name, safe='')}/infer"
        return [self._reply(replica, port, path, each.body) for each in questions]

    def example(self, revision: int) -> list[Question]:
        """A request that the model describes itself, for who names none. Raises Unheard."""
        replica = self._replica(revision)
        port, model = selectors.endpoint(self._deployment.pk, revision)
        path = f"/v2/models/{quote(model or self._deployment.name, safe='')}"
        said = self._answer(replica, port, "GET", path)[0] if replica else {}
        return [Question("example", "the model's example", encode(example_request(said)))]

    def _replica(self, revision: int) -> str:
        here = (self._place.target.cluster_id, self._place.target.namespace)
        return next((name for name, of, *at in self._ready if of == revision and tuple(at) == here), "")

    def _reply(self, replica: str, port: int, path: str, body: bytes) -> Reply:
        said, took = self._answer(replica, port, "POST", path, body)
        return Reply(answered=bool(said), milliseconds=took, outputs=said.get("outputs"))

    def _answer(
        self, replica: str, port: int, method: str, path: str, body: bytes = b""
    ) -> tuple[dict[str, Any], float]:
        """The replica's good answer, a JSON object, or {} where it failed; and the milliseconds that it took.

        Raises Unheard where nobody knows whether it failed.
        """
        namespace, vigil = self._place.target.namespace, Vigil(self._client, REQUEST_SECONDS / 2)
        began = time.monotonic()
        try:
            with vigil:
                answer = self._client.proxy_pod(
                    namespace, replica, port, method, path, body=body, timeout=REQUEST_SECONDS
                )
        except KubeError as error:
            blame, why = blame_of_error(error), error.message
            took = (time.monotonic() - began) * 1000
        else:
            took = (time.monotonic() - began) * 1000
            if answer.status == 200 and (said := _object(answer.body)):
                return said, took
            blame, why = blame_of_answer(answer.status, answer.body), why_unheard(answer.status, answer.body)
        if blame is Blame.WAY:
            raise Unheard(f"{replica} can't be asked. {why}")
        if blame is Blame.UNCLEAR and (trouble := vigil.trouble()):
            raise Unheard(f"Nothing is known of {replica}: its API server may be at fault. {trouble}")
        return {}, took


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
