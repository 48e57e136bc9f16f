"""Asks a cluster what a check wants to know; `checks` judges the answers."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any

from apps.clusters.connect import checks, engines
from apps.clusters.connect.checks import Facts, PermissionCheck, Report, Skew
from apps.clusters.connect.credentials import Validity
from apps.clusters.connect.engines import Engine, Known
from apps.clusters.connect.permissions import NEEDED, Permission
from apps.clusters.kube.client import KubeClient, Probe
from apps.clusters.kube.errors import Forbidden, KubeError, NotServed, Unauthorized, Unreachable

# Reviews are small and many; more at once would only queue in the pool of connections.
PARALLEL = 8
# The whole check, as the client's budget: an API server that answers each question slowly must not hold a worker.
TOTAL_SECONDS = 20.0
QUESTION_SECONDS = 4.0


def diagnose(client: KubeClient, credential: Validity, now: datetime) -> Report:
    """Try the connection, review every needed permission, find engines. Raises nothing that a cluster can cause."""
    version = ""
    try:
        version = client.version()
        # Without that right the report says so, below.
        with suppress(Forbidden):
            client.confirm_identity()
        probe = client.probe()
        groups = client.groups()
        permissions = _review(client)
        facts = Facts(
            version=version,
            latency_s=probe.seconds,
            skew=_skew(probe),
            groups=frozenset(groups),
            permissions=permissions,
            engines=_engines(client, groups),
        )
    except KubeError as error:
        sentence, reason = refusal(error)
        return checks.failed(
            sentence, reason, credential, now, reachable=_answered(error), detail=error.message, version=version
        )
    return checks.judge(facts, credential, now)


def refusal(error: KubeError) -> tuple[str, str]:
    """A failed call as a sentence for everyone, without what the server said, and its reason."""
    if isinstance(error, Unauthorized):
        return "The API server answers, but refuses the credential (401). Give it a new one.", "Unauthorized"
    if isinstance(error, Forbidden):
        return "The API server answers, but lets the credential see nothing (403). Apply the role below.", "Forbidden"
    if _answered(error):
        return f"The API server answers with an error ({error.status}).", error.reason
    # Our own words: the adapter makes them.
    return error.message, error.reason


def _answered(error: KubeError) -> bool:
    """Whether the API server itself gave this answer."""
    return error.status != 0 and not isinstance(error, Unreachable)


def _skew(probe: Probe) -> Skew | None:
    return checks.skew_of(probe.date, probe.sent, probe.received) if probe.date else None


def _review(client: KubeClient) -> tuple[PermissionCheck, ...] | None:
    """Every needed permission; None where the server has no access reviews."""
    questions = [(needed, verb) for needed in NEEDED for verb in needed.verbs]

    def ask(question: tuple[Permission, str]) -> bool:
        needed, verb = question
        return all(
            client.access_review(
                verb, needed.group, needed.plural, subresource=needed.subresource, name=name, timeout=QUESTION_SECONDS
            )
            for name in needed.names or ("",)
        )

    try:
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="review") as pool:
            allowed = dict(zip(questions, pool.map(ask, questions), strict=True))
    except NotServed:
        return None
    return tuple(
        PermissionCheck(
            group=needed.group,
            resource=needed.resource,
            verbs=needed.verbs,
            missing=tuple(verb for verb in needed.verbs if not allowed[needed, verb]),
            why=needed.why,
            optional=needed.optional,
            names=needed.names,
        )
        for needed in NEEDED
    )


def _engines(client: KubeClient, groups: Mapping[str, Sequence[str]]) -> tuple[Engine, ...]:
    return tuple(engines.describe(known, groups, _telling(client, known)) for known in engines.present(groups))


def _telling(client: KubeClient, known: Known) -> list[dict[str, Any]]:
    """The objects that may tell the engine's version: one small answer a name, whatever the cluster's size."""
    objects: list[dict[str, Any]] = []
    # The version is a courtesy: without it the engine is still named.
    with suppress(KubeError):
        if known.crd:
            objects.append(client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", known.crd))
        for name in known.deployments:
            if objects:
                break
            objects = client.list("apps/v1", "Deployment", field_selector=f"metadata.name={name}")
    return objects
