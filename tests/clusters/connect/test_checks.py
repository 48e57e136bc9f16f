"""What a check decides, by tables: skew, findings, engines, the role to apply."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from apps.clusters.connect import checks, engines, grants
from apps.clusters.connect.checks import Facts, PermissionCheck, Skew
from apps.clusters.connect.credentials import Validity, validity
from apps.clusters.connect.permissions import NEEDED
from tests.clusters.fakeapi import certificate
from tests.role import cluster_role

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TOKEN = Validity("token")


def facts(**changes: Any) -> Facts:
    granted = PermissionCheck("batch", "jobs", ("get", "create"), (), "Runs are launched.", False)
    return Facts(**{"version": "v1.33.0", "latency_s": 0.012, "permissions": (granted,), **changes})


@pytest.mark.parametrize(
    ("date", "round_trip", "seconds", "uncertainty"),
    [
        (NOW, 0.0, 0.5, 0.5),
        (NOW, 2.0, -0.5, 1.5),
        (NOW + timedelta(seconds=10), 0.2, 10.4, 0.6),
        (NOW - timedelta(minutes=1), 1.0, -60.0, 1.0),
    ],
)
def test_the_skew_is_known_to_half_the_round_trip_and_the_header_s_second(
    date: datetime, round_trip: float, seconds: float, uncertainty: float
) -> None:
    assert checks.skew_of(date, NOW, NOW + timedelta(seconds=round_trip)) == Skew(seconds, uncertainty)


@pytest.mark.parametrize(
    ("skew", "warns"), [(Skew(4.9, 0.0), False), (Skew(5.5, 0.6), False), (Skew(6, 0.6), True), (Skew(-9, 1), True)]
)
def test_a_clock_is_called_off_only_when_it_surely_is(skew: Skew, warns: bool) -> None:
    report = checks.judge(facts(skew=skew), TOKEN, NOW)
    assert ([each.kind for each in report.findings] == ["ClockSkew"]) is warns
    assert report.ok, "a clock alone stops nothing"


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        (timedelta(days=-1), "CredentialExpired"),
        (timedelta(0), "CredentialExpired"),
        (timedelta(days=13), "CredentialExpiring"),
        (timedelta(days=15), None),
        (None, None),
    ],
)
def test_the_end_of_a_credential_is_told_two_weeks_ahead(left: timedelta | None, kind: str | None) -> None:
    findings = checks.credential_findings(Validity("certificate", NOW + left if left is not None else None), NOW)
    assert [each.kind for each in findings] == ([kind] if kind else [])


def test_a_token_that_the_kubelet_renews_is_no_reason_to_warn() -> None:
    assert checks.credential_findings(Validity("in-cluster", NOW + timedelta(minutes=50)), NOW) == []


def jwt(claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


@pytest.mark.parametrize(
    ("token", "ends"),
    [
        (jwt({"exp": int(NOW.timestamp())}), NOW),
        (jwt({"sub": "system:serviceaccount:x:y"}), None),
        (jwt({"exp": "soon"}), None),
        (jwt({"exp": 10**30}), None),
        (jwt([1]), None),
        ("a.b.c", None),
        ("opaque", None),
        ("", None),
    ],
)
def test_only_a_jwt_tells_its_end(token: str, ends: datetime | None) -> None:
    assert validity("token", token=token).expires_at == ends


def test_a_certificate_tells_its_end() -> None:
    ends = validity("certificate", certificate=certificate()[0].decode()).expires_at
    assert ends is not None and timedelta(hours=23) < ends - datetime.now(UTC) < timedelta(hours=25)
    assert validity("certificate", certificate="no certificate").expires_at is None


def test_missing_permissions_are_named_and_optional_ones_are_not_held_against_the_cluster() -> None:
    missing = PermissionCheck("batch", "jobs", ("get", "create"), ("create",), "Runs are launched.", False)
    optional = PermissionCheck("metrics.k8s.io", "pods", ("get",), ("get",), "Usage is shown.", True)
    report = checks.judge(facts(permissions=(missing, optional)), TOKEN, NOW)
    assert not report.ok and report.reason == "PermissionsMissing" and "create jobs" in report.sentence
    assert checks.judge(facts(permissions=(optional,)), TOKEN, NOW).ok


def deployment(image: str, labels: dict[str, str] | None = None, name: str = "controller") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "system", "labels": labels or {}}
    return {"metadata": metadata, "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}


VERSION = "app.kubernetes.io/version"


@pytest.mark.parametrize(
    ("engine", "controller", "version"),
    [
        ("Kueue", deployment("registry.k8s.io/kueue/kueue:v0.14.2"), "v0.14.2"),
        ("Kueue", deployment("mirror.example.org:5000/kueue/kueue:v0.14.2@sha256:00"), "v0.14.2"),
        ("Kueue", deployment("registry.k8s.io/kueue/kueue@sha256:00", {VERSION: "0.14.1"}), "0.14.1"),
        ("Kueue", deployment("mirror.example.org:5000/kueue/kueue"), ""),
        ("Kueue", deployment("registry.k8s.io/kueue/kueue:latest"), ""),
        ("Kueue", deployment("quay.io/brancz/kube-rbac-proxy:v0.8.0"), ""),
        ("Kubeflow Trainer", deployment("ghcr.io/kubeflow/trainer/trainer-controller-manager:v2.0.1"), "v2.0.1"),
        ("KServe", deployment("kserve/kserve-controller:v0.15.2"), "v0.15.2"),
        ("KEDA", deployment("ghcr.io/kedacore/keda:2.18.0"), "2.18.0"),
        (
            "Prometheus operator",
            deployment("quay.io/prometheus-operator/prometheus-operator:v0.86.1"),
            "v0.86.1",
        ),
        ("Gateway API", deployment("x:1.0"), ""),
    ],
)
def test_an_engine_s_version_is_read_off_its_controller(engine: str, controller: dict[str, Any], version: str) -> None:
    known = next(each for each in engines.KNOWN if each.name == engine)
    groups = {known.groups[0]: ("v1beta1", "v1alpha1")}
    described = engines.describe(known, groups, [controller])
    assert described.version == version
    assert described.served == (f"{known.groups[0]}/v1beta1", f"{known.groups[0]}/v1alpha1")


def test_the_gateway_api_tells_its_version_by_an_annotation() -> None:
    known = next(each for each in engines.KNOWN if each.name == "Gateway API")
    metadata = {"name": known.crd, "annotations": {"gateway.networking.k8s.io/bundle-version": "v1.4.0"}}
    described = engines.describe(known, {"gateway.networking.k8s.io": ("v1",)}, [{"metadata": metadata}])
    assert (described.version, described.version_from) == ("v1.4.0", known.crd)


def test_engines_are_found_by_their_groups_alone() -> None:
    assert engines.present({"apps": ("v1",), "kueue.x-k8s.io": (), "metrics.k8s.io": ("v1beta1",)}) == []
    assert [each.name for each in engines.present({"keda.sh": ("v1alpha1",), "serving.kserve.io": ("v1",)})] == [
        "KServe",
        "KEDA",
    ]


def test_the_role_to_copy_is_exactly_the_one_that_is_needed() -> None:
    objects = {obj["kind"]: obj for obj in yaml.safe_load_all("\n".join(line.text for line in grants.lines()))}
    assert list(objects) == ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Secret"]
    assert objects["ClusterRole"] == cluster_role()
    assert objects["Secret"]["metadata"]["annotations"] == {"kubernetes.io/service-account.name": grants.NAME}
    subject = objects["ClusterRoleBinding"]["subjects"][0]
    assert (subject["name"], subject["namespace"]) == (grants.NAME, grants.NAMESPACE)
    assert objects["ClusterRoleBinding"]["roleRef"]["name"] == objects["ClusterRole"]["metadata"]["name"]


def test_only_the_rules_that_lack_something_are_marked() -> None:
    lines = grants.lines({("batch", "jobs", ()): ("create", "delete")})
    assert [line.text.strip() for line in lines if line.missing] == [
        '- apiGroups: ["batch"]',
        "resources: [jobs]",
        f"verbs: [{', '.join(next(each.verbs for each in NEEDED if each.resource == 'jobs'))}]"
        "  # missing: create, delete",
    ]
    assert yaml.safe_load_all("\n".join(line.text for line in lines))
