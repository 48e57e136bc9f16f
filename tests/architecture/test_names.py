"""Every name that is accepted is valid wherever it ends up, on Kubernetes before 1.34 as well."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_validate import utils

from apps.clusters.manifests import namespace_of
from apps.clusters.models import validate_cluster_name
from apps.clusters.services.labels import clean_name
from apps.core import services as core
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import User, validate_name
from apps.core.text.names import (
    check_name,
    check_project_name,
    check_service_name,
    is_label_key,
    is_label_value,
    is_subdomain,
    service_name_from,
)
from apps.deployments import manifests as serving
from apps.deployments import services as deployments
from apps.deployments.manifests.modelfiles import Source
from apps.deployments.specs import parse_revision
from apps.experiments import manifests as training
from apps.experiments.specs import parse_spec
from tests import factories

# It reads a megabyte of definitions for each object; every one is validated by the same.
utils.schema_contents = functools.cache(utils.schema_contents)
# Written down again from Kubernetes' own rules (apimachinery/pkg/util/validation), not taken from the code.
LABEL = re.compile(r"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
SERVICE = re.compile(r"\A[a-z]([-a-z0-9]*[a-z0-9])?\Z")
SUBDOMAIN = re.compile(r"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
VALUE = re.compile(r"\A(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")

BIG = 10**12
few = settings(max_examples=60, deadline=None)
NAMES = st.one_of(
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9._-]{1,64}\n?", fullmatch=True),
    st.text(max_size=70),
)
TAKEN = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


def accepted(check: Any, text: str) -> bool:
    try:
        check(text, "name")
    except Invalid as error:
        assert error.field == "name" and error.message.endswith(".")
        return False
    return True


def references(node: Any) -> Iterator[str]:
    """The names of Secrets, ConfigMaps and claims that an object refers to."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretKeyRef", "configMap"):
                yield value["name"]
            elif key in ("secretName", "claimName"):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def assert_valid(made: dict[str, Any]) -> None:
    """What an API server checks of names and labels, and the schema of everything."""
    kubernetes_validate.validate(made, "1.37", strict=True)
    metadata = made["metadata"]
    name, kind = metadata["name"], made["kind"]
    rule = SERVICE if kind == "Service" else LABEL if kind == "Namespace" else SUBDOMAIN
    assert rule.match(name) and len(name) <= (63 if kind in ("Service", "Namespace", "Job") else 253)
    assert kind == "Namespace" or (LABEL.match(metadata["namespace"]) and len(metadata["namespace"]) <= 63)
    template = made.get("spec", {}).get("template", {}).get("metadata", {})
    selector = made.get("spec", {}).get("selector", {})
    for labels in (metadata["labels"], template.get("labels", {}), selector.get("matchLabels", selector)):
        assert all(VALUE.match(value) and len(value) <= 63 for value in labels.values()), labels
    assert all(SUBDOMAIN.match(name) and len(name) <= 253 for name in references(made))
    if kind == "Deployment":
        # ReplicaSets and pods are named after it, and a pod's hostname is a label of 63 characters.
        assert len(name) + len("-0123456789-abcde") <= 253


def assert_not_mountable(secret: dict[str, Any]) -> None:
    """Whoever may launch could read the token of another run or deployment in it."""
    volume = {"mountPath": "/a", "secret": {"secretName": secret["metadata"]["name"]}}
    with pytest.raises(Invalid, match="Flotilla's own"):
        parse_spec({"image": "x", "volumes": [volume]})


@few
@given(name=NAMES | TAKEN, project=NAMES | TAKEN, revision=st.integers(1, BIG))
def test_whatever_names_a_deployment_is_valid_in_all_of_its_objects(name: str, project: str, revision: int) -> None:
    if not (accepted(check_service_name, name) and accepted(check_name, project)):
        return
    identity = serving.Identity(project, name, namespace_of(project))
    model = {"name": "Ein Modell 🚀", "version": 1}
    source = Source("http://x", "fetcher:1", "/var/lib/models")
    for spec in ({"image": "x", "model": model}, {"image": "x", "model": model, "model_path": "/m"}):
        assert_valid(serving.workload(identity, revision, parse_revision(spec), 1, source=source))
    assert_valid(serving.service(identity))
    secret = serving.token_secret(identity, prefix="flt_1", token="flt_x")
    assert_valid(secret)
    assert_not_mountable(secret)


@few
@given(project=NAMES | TAKEN, pk=st.integers(1, BIG))
def test_whatever_names_a_project_is_valid_in_the_objects_of_its_runs(project: str, pk: int) -> None:
    if not accepted(check_name, project):
        return
    space = namespace_of(project)
    spec = parse_spec({"image": "x"})
    assert_valid(training.run_namespace(project, space))
    secret = training.run_secret(project=project, namespace_name=space, run_pk=pk, run_uid="0" * 32, token="flt_x")
    assert_valid(secret)
    assert_not_mountable(secret)
    assert_valid(
        training.run_job(
            project=project, namespace_name=space, run_pk=pk, run_uid="0" * 32, experiment_pk=1, spec=spec,
            tracking_uri="http://x", git_image="alpine/git:1", files_image="flotilla-model-server:1",
        )
    )  # fmt: skip


@few
@given(name=NAMES, other=NAMES, key=NAMES, value=NAMES)
def test_whatever_names_a_volume_a_secret_or_a_label_is_valid_in_a_pod(
    name: str, other: str, key: str, value: str
) -> None:
    made = [
        {"node_selector": {key: value}},
        {"tolerations": [{"key": key, "value": value}]},
        {"image_pull_secrets": [name, other]},
        *({"volumes": [{"name": name, "mountPath": "/a", **source}]} for source in (
            {"emptyDir": {}}, {"configMap": {"name": other}}, {"secret": {"secretName": other}},
            {"persistentVolumeClaim": {"claimName": other}},
        )),
    ]  # fmt: skip
    wish: dict[str, Any] = {"image": "x"}
    for options in made:
        try:
            parse_spec({"image": "x", **options})
        except Invalid as refused:
            assert refused.field.startswith(next(iter(options)))
        else:
            wish |= options
    job = training.run_job(
        project="demo", namespace_name="flotilla-demo", run_pk=1, run_uid="0" * 32, experiment_pk=1,
        spec=parse_spec(wish), tracking_uri="http://x", git_image="alpine/git:1", files_image="flotilla-model-server:1",
    )  # fmt: skip
    assert_valid(job)
    pod = job["spec"]["template"]["spec"]
    names = [each["name"] for each in pod.get("imagePullSecrets", [])]
    assert all(SUBDOMAIN.match(each) and len(each) <= 253 for each in names)
    assert all(LABEL.match(each["name"]) and len(each["name"]) <= 63 for each in pod.get("volumes", []))
    assert all(VALUE.match(each) and len(each) <= 63 for each in pod.get("nodeSelector", {}).values())


@given(text=NAMES)
def test_rules_of_labels_and_references_are_those_of_kubernetes(text: str) -> None:
    assert is_subdomain(text) is (bool(SUBDOMAIN.match(text)) and max(map(len, text.split("."))) <= 63)
    assert is_label_value(text) is (bool(VALUE.match(text)) and len(text) <= 63)
    assert is_label_key(text) is (bool(text) and is_label_value(text)) or "/" in text
    assert is_label_key(f"example.org/{text}") is (bool(text) and is_label_value(text))


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a..b/c", "Example.org/a", "a/b/c", "-a", "a\n", "é", "a" * 64])
def test_what_is_no_label_key(key: str) -> None:
    assert not is_label_key(key)


@pytest.mark.parametrize("name", ["system", "manager", "control-plane", "here"])
def test_no_project_is_named_so_that_it_lives_where_flotilla_does(name: str) -> None:
    with pytest.raises(Invalid, match="Flotilla's own") as refused:
        check_project_name(name, "name", "flotilla-here")
    assert refused.value.field == "name" and f"flotilla-{name}" in refused.value.message
    check_project_name("system-tests", "name", "flotilla-here")
    check_project_name("here", "name", "elsewhere")
    check_project_name("here", "name")


@pytest.mark.django_db
def test_the_service_refuses_such_names_and_such_namespaces(settings: Any) -> None:
    settings.NAMESPACE = "ml-control"
    root = Principal(user=User.objects.create_superuser("root"))
    with pytest.raises(Invalid, match="Flotilla's own"):
        core.create_project(principal=root, name="system")
    project = core.create_project(principal=root, name="demo")
    factories.cluster("home", nodes=0)
    for namespace in ("flotilla", "flotilla-system", "ml-control", "kube-system", "flotilla-other"):
        with pytest.raises(Invalid, match="can't be the namespace"):
            deployments.create_target(principal=root, project=project, name="t", cluster="home", namespace=namespace)
    deployments.create_target(principal=root, project=project, name="t", cluster="home", namespace="ml-team")


@given(text=NAMES)
def test_validators_of_models_are_as_strict_as_the_services(text: str) -> None:
    for validate, check in ((validate_name, check_name), (validate_cluster_name, _check_cluster_name)):
        try:
            validate(text)
        except ValidationError:
            valid = False
        else:
            valid = True
        assert valid is accepted(check, text)


def _check_cluster_name(text: str, field: str) -> None:
    clean_name(text)


@pytest.mark.parametrize("validate", [validate_name, validate_cluster_name])
def test_no_newline_hides_at_the_end_of_a_name(validate: Any) -> None:
    validate("demo")
    with pytest.raises(ValidationError):
        validate("demo\n")


@given(text=st.text(max_size=300))
def test_a_name_made_from_a_model_s_is_none_or_good(text: str) -> None:
    made = service_name_from(text)
    assert made == "" or accepted(check_service_name, made)


@pytest.mark.parametrize(
    ("name", "made"),
    [("My Model_2", "my-model-2"), ("2024 digits", "m-2024-digits"), ("-", ""), ("a" * 50, "a" * 40), ("é", "")],
)
def test_the_name_that_is_offered_for_a_model(name: str, made: str) -> None:
    assert service_name_from(name) == made
