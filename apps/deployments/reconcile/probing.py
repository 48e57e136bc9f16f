"""A look of an analysis that sends requests: the same ones to a replica of each revision, on each of its targets.

It asks replicas by way of their cluster's API server, as predictions do. What it sends has been asked for by whoever
made the strategy; a request is sent once a round and never repeated.
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
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Placement
from apps.deployments.predict.examples import example_request
from apps.deployments.rollout.analysis import Measurement, Reply, by_probe

# Seconds for one request; what takes longer has failed.
REQUEST_SECONDS = 5.0


def look(run: AnalysisRun, places: Sequence[Placement]) -> Measurement:
    """What both revisions answer on these targets now."""
    deployment = run.rollout.deployment
    away = [place.target.name for place in places if is_away(place.target.cluster)]
    new: list[Reply] = []
    old: list[Reply] = []
    silent = f"{', '.join(away)} can't be reached." if away else ""
    ready = selectors.ready_replicas(deployment)
    for place in places:
        if place.target.name in away:
            continue
        try:
            client = connect(place.target.cluster)
            asking = _Asking(client, deployment, place, ready)
            requests = run.asked.get("requests") or asking.example(run.rollout.to_revision.number)
            new += asking.ask(run.rollout.to_revision.number, requests)
            old += asking.ask(place.stable.number, requests) if place.stable else []
        except (KubeError, FlotillaError) as error:
            silent = f"{place.target.name}: {error}"
    return by_probe(run.asked, new, old, timezone.now(), silent=silent)


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

    def ask(self, revision: int, requests: Sequence[dict[str, Any]]) -> list[Reply]:
        """The replies of a ready replica of the revision; none where none is ready."""
        replica = self._replica(revision)
        if not replica:
            return []
        port, model = selectors.endpoint(self._deployment.pk, revision)
        path = f"/v2/models/{quote(model or self._deployment.name, safe='')}/infer"
        return [self._reply(replica, port, path, request) for request in requests]

    def example(self, revision: int) -> list[dict[str, Any]]:
        """A request that the model describes itself, for who names none."""
        replica = self._replica(revision)
        port, model = selectors.endpoint(self._deployment.pk, revision)
        path = f"/v2/models/{quote(model or self._deployment.name, safe='')}"
        said: Any = {}
        if replica:
            answer = self._client.proxy_pod(
                self._place.target.namespace, replica, port, "GET", path, timeout=REQUEST_SECONDS
            )
            said = _object(answer.body) if answer.status == 200 else {}
        return [example_request(said)]

    def _replica(self, revision: int) -> str:
        here = (self._place.target.cluster_id, self._place.target.namespace)
        return next((name for name, of, *at in self._ready if of == revision and tuple(at) == here), "")

    def _reply(self, replica: str, port: int, path: str, request: dict[str, Any]) -> Reply:
        began = time.monotonic()
        try:
            answer = self._client.proxy_pod(
                self._place.target.namespace,
                replica,
                port,
                "POST",
                path,
                body=encode(request),
                timeout=REQUEST_SECONDS,
            )
        except KubeError:
            return Reply(answered=False, milliseconds=(time.monotonic() - began) * 1000)
        took = (time.monotonic() - began) * 1000
        return Reply(answer.status == 200, took, _object(answer.body).get("outputs"))


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
