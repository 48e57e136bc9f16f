""" "Test connection": says what works with a cluster, and which permissions are missing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, NotFound
from apps.clusters.permissions import NEEDED, Permission

# Reviews are small and many; more at once would only queue in the pool of connections.
PARALLEL = 8


@dataclass(frozen=True)
class PermissionCheck:
    """One permission: `missing` lists the verbs that are refused."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    missing: tuple[str, ...]
    why: str
    optional: bool

    @property
    def ok(self) -> bool:
        """Whether every verb is allowed."""
        return not self.missing


@dataclass(frozen=True)
class Report:
    """The outcome of a test. `ok` means that everything needed works; `sentence` sums it up for people."""

    ok: bool
    reachable: bool
    sentence: str
    version: str = ""
    latency_ms: float | None = None
    metrics: bool | None = None
    permissions: tuple[PermissionCheck, ...] = field(default_factory=tuple)
    reason: str = ""

    @property
    def missing(self) -> list[PermissionCheck]:
        """The checks that failed, optional ones included."""
        return [check for check in self.permissions if not check.ok]

    def as_dict(self) -> dict[str, Any]:
        """For REST."""
        return asdict(self)


def diagnose(client: KubeClient) -> Report:
    """Try the connection and review every needed permission. Raises nothing that a cluster can cause."""
    try:
        version = str(client.version().get("gitVersion") or "unknown")
        latency_ms = round(client.ping() * 1000, 1)
        groups = client.groups()
    except KubeError as error:
        return failed(error)
    try:
        checks = _review(client)
    except NotFound:
        sentence = f"Reachable ({version}), but permissions can't be reviewed: this server has no access reviews."
        return Report(True, True, sentence, version, latency_ms, "metrics.k8s.io" in groups)
    except KubeError as error:
        return failed(error, version)
    lacking = [check for check in checks if not check.ok and not check.optional]
    metrics = "metrics.k8s.io" in groups
    if lacking:
        names = "; ".join(f"{', '.join(check.missing)} {check.resource}" for check in lacking)
        sentence = f"Reachable ({version}), but these permissions are missing: {names}."
    else:
        sentence = f"Everything works: {version}, {latency_ms:.0f} ms, all permissions."
        sentence += "" if metrics else " There is no metrics-server, so used CPU and memory are not shown."
    return Report(not lacking, True, sentence, version, latency_ms, metrics, checks)


def failed(error: KubeError, version: str = "") -> Report:
    """The report of a connection that does not work."""
    return Report(False, error.status != 0, error.message, version=version, reason=error.reason)


def _review(client: KubeClient) -> tuple[PermissionCheck, ...]:
    questions = [(needed, verb) for needed in NEEDED for verb in needed.verbs]

    def ask(question: tuple[Permission, str]) -> bool:
        needed, verb = question
        return client.access_review(verb, needed.group, needed.plural, subresource=needed.subresource)

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="review") as pool:
        allowed = dict(zip(questions, pool.map(ask, questions), strict=True))
    return tuple(
        PermissionCheck(
            group=needed.group,
            resource=needed.resource,
            verbs=needed.verbs,
            missing=tuple(verb for verb in needed.verbs if not allowed[needed, verb]),
            why=needed.why,
            optional=needed.optional,
        )
        for needed in NEEDED
    )
