"""Judges a check of a cluster: facts in, a report with findings and a sentence out. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from apps.clusters.connect.credentials import Validity
from apps.clusters.connect.engines import Engine
from apps.clusters.quantities.words import listed
from apps.core.text.wording import duration_text

# Tokens of a project's namespace and leases are compared by clocks; kubelets and etcd bear about as much.
SKEW_WARNING_S = 5.0
EXPIRY_WARNING = timedelta(days=14)
# The Date header counts whole seconds (RFC 9110, 5.6.7): its true time lies up to a second later.
DATE_RESOLUTION_S = 1.0


@dataclass(frozen=True)
class PermissionCheck:
    """One permission: `missing` lists the verbs that are refused. With `names`, it is about these objects alone."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    missing: tuple[str, ...]
    why: str
    optional: bool
    names: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The missing verbs in words: "get namespaces kube-system"."""
        return " ".join([", ".join(self.missing), self.resource, *self.names])

    @property
    def ok(self) -> bool:
        """Whether every verb is allowed."""
        return not self.missing


@dataclass(frozen=True)
class Skew:
    """How far the cluster's clock is ahead of ours (negative: behind), and how uncertain that is, in seconds."""

    seconds: float
    uncertainty: float

    @property
    def surely_wrong(self) -> bool:
        """Whether even the kindest reading is over the limit."""
        return abs(self.seconds) - self.uncertainty > SKEW_WARNING_S


@dataclass(frozen=True)
class Finding:
    """A fault that a person should mend, though the cluster may work."""

    kind: str
    title: str
    message: str
    noun: str


@dataclass(frozen=True)
class Facts:
    """The answers that a check got. None stands for a question that could not be asked."""

    version: str
    latency_s: float
    skew: Skew | None = None
    groups: frozenset[str] = frozenset()
    permissions: tuple[PermissionCheck, ...] | None = None
    engines: tuple[Engine, ...] = ()


@dataclass(frozen=True)
class Report:
    """The outcome of a check. `ok` means that everything needed works; `sentence` sums it up for everyone, `detail`
    may name addresses and is for administrators."""

    ok: bool
    reachable: bool
    sentence: str
    reason: str = ""
    detail: str = ""
    version: str = ""
    latency_ms: float | None = None
    skew_s: float | None = None
    skew_uncertainty_s: float | None = None
    metrics: bool | None = None
    permissions: tuple[PermissionCheck, ...] = field(default_factory=tuple)
    engines: tuple[Engine, ...] | None = None
    credential_kind: str = ""
    credential_expires_at: datetime | None = None
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """For REST and for storage: JSON, times in ISO 8601."""
        ends = self.credential_expires_at
        return asdict(self) | {"credential_expires_at": ends.isoformat() if ends else None}


def engines_of(report: Mapping[str, Any]) -> frozenset[str] | None:
    """The names of the engines that a stored report found; None where the last check could not ask."""
    engines = report.get("engines")
    return None if engines is None else frozenset(str(engine["name"]) for engine in engines)


def version_of(report: Mapping[str, Any], engine: str) -> str:
    """The version of an engine that a stored report found; "" where it could not read one."""
    found = report.get("engines") or ()
    return next((str(each.get("version") or "") for each in found if each["name"] == engine), "")


def is_before(version: str, since: tuple[int, int]) -> bool:
    """Whether a version is known, and an earlier one."""
    known = re.match(r"v?(\d+)\.(\d+)", version)
    return known is not None and (int(known[1]), int(known[2])) < since


def skew_of(server: datetime, sent: datetime, received: datetime) -> Skew:
    """The skew that an answer with the Date header `server` shows, sent and received by our clock.

    Half the round trip is uncertain, and half of the second that the header rounds down to.
    """
    round_trip = max(0.0, (received - sent).total_seconds())
    middle = sent + timedelta(seconds=round_trip / 2)
    ahead = (server - middle).total_seconds() + DATE_RESOLUTION_S / 2
    return Skew(round(ahead, 2), round(round_trip / 2 + DATE_RESOLUTION_S / 2, 2))


def clock_words(seconds: float | None, uncertainty: float | None) -> tuple[str, str]:
    """A skew for people: the figure and what stands below it."""
    if seconds is None or uncertainty is None:
        return "–", "not told"
    if abs(seconds) <= uncertainty + DATE_RESOLUTION_S:
        return "in step", f"within {abs(seconds) + uncertainty:.1f} s of ours"
    return f"{duration_text(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}", f"of ours, ± {uncertainty:.1f} s"


def judge(facts: Facts, credential: Validity, now: datetime) -> Report:
    """The report of a cluster that answers."""
    metrics = "metrics.k8s.io" in facts.groups
    findings = [*_permission_findings(facts), *_skew_findings(facts), *credential_findings(credential, now)]
    lacking = any(finding.kind == "PermissionsMissing" for finding in findings)
    return Report(
        ok=not lacking,
        reachable=True,
        sentence=_sentence(facts, findings, metrics),
        reason=findings[0].kind if findings else "AllWell",
        version=facts.version,
        latency_ms=round(facts.latency_s * 1000, 1),
        skew_s=facts.skew.seconds if facts.skew else None,
        skew_uncertainty_s=facts.skew.uncertainty if facts.skew else None,
        metrics=metrics,
        permissions=facts.permissions or (),
        engines=facts.engines,
        credential_kind=credential.kind,
        credential_expires_at=credential.expires_at,
        findings=tuple(findings),
    )


def failed(
    sentence: str,
    reason: str,
    credential: Validity,
    now: datetime,
    *,
    reachable: bool = False,
    detail: str = "",
    version: str = "",
) -> Report:
    """The report of a connection that does not work. An expired credential is named beside it."""
    return Report(
        ok=False,
        reachable=reachable,
        sentence=sentence,
        reason=reason,
        detail=detail,
        version=version,
        credential_kind=credential.kind,
        credential_expires_at=credential.expires_at,
        findings=tuple(credential_findings(credential, now)),
    )


def credential_findings(credential: Validity, now: datetime) -> list[Finding]:
    """The finding that the credential has ended or ends soon, unless it renews itself."""
    if credential.expires_at is None or credential.renews_itself:
        return []
    left = credential.expires_at - now
    noun = "client certificate" if credential.kind == "certificate" else "token"
    day = f"{credential.expires_at:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0):
        return [
            Finding(
                "CredentialExpired",
                f"its {noun} has expired",
                f"The {noun} ended on {day}, so nothing can be read or written. Give a new credential.",
                "credential expired",
            )
        ]
    if left > EXPIRY_WARNING:
        return []
    return [
        Finding(
            "CredentialExpiring",
            f"its {noun} ends in {duration_text(left)}",
            f"The {noun} ends on {day}. Give a new one before; nothing is interrupted by that.",
            "credential expiring",
        )
    ]


TWICE = "RegisteredTwice"


def with_twins(report: Report, names: Sequence[str]) -> Report:
    """The report of a cluster that is registered under other `names`, too: its kube-system has the same uid."""
    if not names:
        return report
    message = f"It is the same cluster as {listed(list(names), 3)}: {one_cluster(1 + len(names))}"
    twice = Finding(TWICE, "it is registered twice", message, "cluster registered twice")
    return replace(report, findings=(*report.findings, twice), sentence=f"{report.sentence} {message}")


def one_cluster(count: int) -> str:
    """The sentence about a cluster that is registered under `count` names, to follow on a colon."""
    all_of, times, all_but = ("both", "twice", "one") if count == 2 else ("all", f"{count} times", "all but one")
    return (
        f"{all_of} have the same uid. Its nodes and pods are counted {times}. Remove {all_but} of them, or let an "
        "administrator say that this is meant."
    )


def without_twins(report: Mapping[str, Any]) -> dict[str, Any]:
    """A stored report without that finding."""
    findings = report.get("findings") or []
    sentence = str(report.get("sentence") or "")
    for finding in findings:
        if finding["kind"] == TWICE:
            sentence = sentence.removesuffix(f" {finding['message']}")
    kept = {"findings": [finding for finding in findings if finding["kind"] != TWICE], "sentence": sentence}
    return {**report, **kept} if findings else dict(report)


def is_doubtful(report: Report, before: Mapping[str, Any]) -> bool:
    """Whether the cluster refuses what the stored report `before` does not know it to refuse: then it is asked again.

    For some seconds after its start an API server knows no roles, and reviews of access say no, too.
    """
    refuses = report.reason in {"Unauthorized", "Forbidden"} or bool(lacking(report.permissions))
    return refuses and before.get("reason") != report.reason


def lacking(permissions: Sequence[PermissionCheck]) -> list[PermissionCheck]:
    """The needed permissions that are not granted."""
    return [check for check in permissions if check.missing and not check.optional]


def _words(missing: Sequence[PermissionCheck]) -> str:
    return "; ".join(check.words for check in missing)


def _permission_findings(facts: Facts) -> list[Finding]:
    missing = lacking(facts.permissions or ())
    if not missing:
        return []
    count = len(missing)
    return [
        Finding(
            "PermissionsMissing",
            f"{count} permission{' is' if count == 1 else 's are'} missing",
            f"Its credential may not {_words(missing)}. The check page has the role to apply.",
            "cluster lacking permissions",
        )
    ]


def _skew_findings(facts: Facts) -> list[Finding]:
    if facts.skew is None or not facts.skew.surely_wrong:
        return []
    way = "ahead of" if facts.skew.seconds > 0 else "behind"
    return [
        Finding(
            "ClockSkew",
            "its clock is off",
            f"The API server's clock is {duration_text(abs(facts.skew.seconds))} {way} Flotilla's. Ages and the ends "
            "of tokens are wrong by that: set both machines by NTP.",
            "clock off",
        )
    ]


def _sentence(facts: Facts, findings: Sequence[Finding], metrics: bool) -> str:
    if facts.permissions is None:
        start = f"Reachable ({facts.version}), but permissions can't be reviewed: this server has no access reviews."
    elif missing := lacking(facts.permissions):
        start = f"Reachable ({facts.version}), but these permissions are missing: {_words(missing)}."
    else:
        start = f"Everything works: {facts.version}, {facts.latency_s * 1000:.0f} ms, all permissions."
    others = [finding.message for finding in findings if finding.kind != "PermissionsMissing"]
    if not metrics and facts.permissions is not None and not lacking(facts.permissions):
        others.append("There is no metrics-server, so used CPU and memory are not shown.")
    return " ".join([start, *others])
