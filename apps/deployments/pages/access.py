"""The card that says where a deployment is reached and how: it asks a replica for the form of its input, once."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import FlotillaError
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.deployments import predict, selectors
from apps.deployments.models import Deployment, Placement
from apps.deployments.predict import snippets
from apps.deployments.predict.examples import UNKNOWN, example_request
from apps.deployments.selectors.resources import route_hosts
from apps.deployments.services.server import is_own


@page(part_of="deployments:detail")
@require_safe
def access(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The card; it is there once a replica has said what it takes, or that it says nothing."""
    deployment = selectors.deployment(request.principal, name, project=project)
    said, trouble = _described(request, deployment)
    context = {"project": project, "deployment": deployment, "card": Card(deployment, said, trouble)}
    return render(request, "deployments/access.html", context)


def _described(request: PageRequest, deployment: Deployment) -> tuple[dict[str, Any], str]:
    """(what a replica says of its model, why it says nothing)."""
    try:
        return predict.describe(principal=request.principal, deployment=deployment), ""
    except FlotillaError as error:
        return {}, error.message


@dataclass(frozen=True)
class Address:
    """One address of the deployment, and from where it is reached."""

    name: str
    url: str
    note: str


@dataclass(frozen=True)
class Snippet:
    """Lines to copy. `key` names them, `title` says what they do."""

    key: str
    title: str
    text: str


class Card:
    """Addresses and snippets of a deployment. `said` is a model's description of itself, {} where there is none."""

    def __init__(self, deployment: Deployment, said: dict[str, Any], trouble: str) -> None:
        self._deployment, self._said, self.trouble = deployment, said, trouble
        spec = deployment.current.spec if deployment.current else {}
        self._own = bool(spec) and (is_own(str(spec["image"])) or _by_v2(spec))
        self._model = str((spec.get("model") or {}).get("name") or deployment.name)
        self.described = bool(said.get("inputs"))

    @property
    def speaks(self) -> bool:
        """Whether it is known to speak Open Inference: Flotilla's own server does, a serving runtime of KServe's that
        is asked to, and who describes a model so."""
        return self._own or self.described or {"name", "versions", "platform"} <= set(self._said)

    @property
    def addresses(self) -> Iterator[Address]:
        """Where it is reached: through Flotilla, by each route, and in each cluster."""
        deployment = self._deployment
        note = "from anywhere, with a token; any ready replica answers"
        yield Address(
            "Flotilla", snippets.by_flotilla(settings.PUBLIC_URL, deployment.project.name, deployment.name), note
        )
        for host in self._hosts:
            yield Address(host, self._at(host), "by an HTTPRoute, from where its Gateway is reached")
        for place in deployment.places:
            yield Address(place.target.name, self._at(_host(place)), f"inside {place.target.cluster.name}")

    @property
    def snippets(self) -> list[Snippet]:
        """Lines for a shell and for Python, of Flotilla's address and of the first that needs no Flotilla."""
        request = example_request(self._said) if self.described else UNKNOWN
        direct = self._at((self._hosts or [_host(place) for place in self._deployment.places[:1]] or [""])[0])
        where = "by the route" if self._hosts else "inside the cluster"
        asked = request if self.speaks else None
        rows = [
            Snippet("curl-direct", f"curl, {where}", snippets.curl(direct, asked)),
            Snippet("python-direct", f"Python, {where}", snippets.python(direct, asked)),
        ]
        if not self.speaks:
            return rows
        url = next(iter(self.addresses)).url
        return [
            Snippet("curl-flotilla", "curl, by Flotilla", snippets.curl(url, request, token=True)),
            Snippet("python-flotilla", "Python, by Flotilla", snippets.python(url, request, token=True)),
            *rows,
        ]

    @functools.cached_property
    def _hosts(self) -> list[str]:
        return route_hosts(self._deployment)

    def _at(self, host: str) -> str:
        return snippets.of_service(host, self._model if self.speaks else "")


def _by_v2(spec: dict[str, Any]) -> bool:
    kserve = (spec.get("runtime") or {}).get("kserve") or {}
    return kserve.get("protocol") == "v2"


def _host(place: Placement) -> str:
    """The name of the Service for pods of its cluster: of its namespace, so that pods of any other find it, too."""
    return f"{place.deployment.name}.{place.target.namespace}.svc"
