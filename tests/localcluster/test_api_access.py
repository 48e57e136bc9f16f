"""Tokens of ServiceAccounts and RBAC.

The facts are those of https://kubernetes.io/docs/reference/access-authn-authz/rbac/ unless a docstring says otherwise.
"""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from localcluster.auth.attributes import Attributes
from localcluster.auth.rbac import rule_allows
from localcluster.auth.tokens import ISSUER, Tokens, claims_of
from tests.kube.support import wait_until
from tests.localcluster.served import TOKEN, Object, Reply, Served, pod

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SECRETS = "/api/v1/namespaces/default/secrets"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
ROBOT = "system:serviceaccount:default:robot"


def account(api: Served, name: str = "robot") -> str:
    """Make a ServiceAccount; gives a token of it."""
    assert api.post(ACCOUNTS, {"metadata": {"name": name}}).status == 201
    reply = api.post(f"{ACCOUNTS}/{name}/token", {"spec": {}})
    assert reply.status == 201, reply.body
    return str(reply.json["status"]["token"])


def rule(verbs: str, resources: str, group: str = "", *names: str) -> Object:
    made: Object = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return {**made, "resourceNames": list(names)} if names else made


def bind(api: Served, *rules: Object, subject: Object | None = None, namespace: str = "") -> None:
    """A role with these rules, bound to `robot`: in one namespace or in the whole cluster."""
    name = f"role-{time.monotonic_ns()}"
    inside = f"/namespaces/{namespace}" if namespace else ""
    role, binding = ("roles", "rolebindings") if namespace else ("clusterroles", "clusterrolebindings")
    assert api.post(f"{RBAC}{inside}/{role}", {"metadata": {"name": name}, "rules": list(rules)}).status == 201
    body = {
        "metadata": {"name": name},
        "roleRef": {"kind": "Role" if namespace else "ClusterRole", "name": name},
        "subjects": [subject or {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    }
    assert api.post(f"{RBAC}{inside}/{binding}", body).status == 201


def refused(reply: Reply) -> str:
    assert (reply.status, reply.json["reason"], reply.json["code"]) == (403, "Forbidden", 403)
    return str(reply.json["message"])


def test_a_service_account_without_roles_may_only_look_around(api: Served) -> None:
    """system:discovery and system:basic-user are bound to every authenticated user."""
    token = account(api)
    for path in ("/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version", "/readyz"):
        assert api.request("GET", path, token=token).status == 200, path
    message = refused(api.request("GET", "/api/v1/pods", token=token))
    assert message == (
        f'pods is forbidden: User "{ROBOT}" cannot list resource "pods" in API group "" at the cluster scope'
    )
    message = refused(api.request("GET", "/apis/batch/v1/namespaces/default/jobs/j", token=token))
    assert message == (
        f'jobs.batch "j" is forbidden: User "{ROBOT}" cannot get resource "jobs" in API group "batch" '
        'in the namespace "default"'
    )
    message = refused(api.request("GET", "/api/v1/namespaces/default/pods/p/log", token=token))
    assert message.startswith(f'pods "p" is forbidden: User "{ROBOT}" cannot get resource "pods/log"')
    assert refused(api.request("GET", "/metrics", token=token)) == (
        f'forbidden: User "{ROBOT}" cannot get path "/metrics"'
    )


def test_a_cluster_role_allows_what_it_lists_everywhere(api: Served) -> None:
    token = account(api)
    bind(api, rule("get list", "pods"))
    assert api.request("GET", "/api/v1/pods", token=token).status == 200
    assert api.request("GET", "/api/v1/namespaces/kube-system/pods", token=token).status == 200
    assert "cannot watch" in refused(api.request("GET", "/api/v1/pods?watch=true", token=token))
    assert "cannot create" in refused(api.request("POST", "/api/v1/namespaces/default/pods", pod("a"), token=token))
    assert "cannot delete" in refused(api.request("DELETE", "/api/v1/namespaces/default/pods/a", token=token))
    assert "cannot deletecollection" in refused(api.request("DELETE", "/api/v1/namespaces/default/pods", token=token))


def test_a_role_allows_it_in_its_namespace_alone(api: Served) -> None:
    token = account(api)
    bind(api, rule("*", "pods"), namespace="default")
    assert api.request("POST", "/api/v1/namespaces/default/pods", pod("a"), token=token).status == 201
    assert 'in the namespace "kube-system"' in refused(
        api.request("GET", "/api/v1/namespaces/kube-system/pods", token=token)
    )
    assert "at the cluster scope" in refused(api.request("GET", "/api/v1/pods", token=token))


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "User", "name": ROBOT},
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:serviceaccounts:default"},
        {"kind": "Group", "name": "system:authenticated"},
    ],
)
def test_bindings_name_users_and_groups(api: Served, subject: Object) -> None:
    """ "Referring to subjects": all service accounts, those of a namespace, all authenticated users."""
    token = account(api)
    bind(api, rule("list", "pods"), subject=subject)
    assert api.request("GET", "/api/v1/pods", token=token).status == 200


def test_a_binding_that_goes_takes_its_permission_along(api: Served) -> None:
    token = account(api)
    bind(api, rule("list", "pods"))
    assert api.request("GET", "/api/v1/pods", token=token).status == 200
    for binding in api.get(f"{RBAC}/clusterrolebindings").names:
        if binding.startswith("role-"):
            api.request("DELETE", f"{RBAC}/clusterrolebindings/{binding}")
    refused(api.request("GET", "/api/v1/pods", token=token))


def test_an_apply_that_creates_needs_both_verbs(api: Served) -> None:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/: an apply is a PATCH, and one that would make
    the object needs create as well."""
    token = account(api)
    bind(api, rule("patch", "configmaps"), namespace="default")
    path = "/api/v1/namespaces/default/configmaps/c?fieldManager=me"
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    apply = "application/apply-patch+yaml"
    assert "cannot create" in refused(api.request("PATCH", path, obj, type_=apply, token=token))
    bind(api, rule("create", "configmaps"), namespace="default")
    assert api.request("PATCH", path, obj, type_=apply, token=token).status == 201


WISH = Attributes("get", "", "pods", "", "default", "a")


@pytest.mark.parametrize(
    ("granted", "wish", "allowed"),
    [
        (rule("get", "pods"), WISH, True),
        (rule("list", "pods"), WISH, False),
        (rule("*", "*", "*"), WISH, True),
        (rule("get", "pods", "apps"), WISH, False),
        (rule("get", "pods", "", "a"), WISH, True),
        (rule("get", "pods", "", "b"), WISH, False),
        (rule("create", "pods", "", "a"), Attributes("create", "", "pods", "", "default"), False),
        (rule("get", "pods"), Attributes("get", "", "pods", "log", "default", "a"), False),
        (rule("get", "pods/log"), Attributes("get", "", "pods", "log", "default", "a"), True),
        (rule("get", "pods/log"), WISH, False),
        (rule("update", "*/scale", "apps"), Attributes("update", "apps", "deployments", "scale", "d", "a"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}, Attributes("get", path="/healthz/ping"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, Attributes("get", path="/healthz/ping"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, Attributes("post", path="/healthz"), False),
    ],
)
def test_rules(granted: Object, wish: Attributes, allowed: bool) -> None:
    """ "Referring to resources": a create can't be restricted by name; subresources are named after a slash."""
    assert rule_allows(granted, wish) is allowed


def test_a_role_for_one_name_lists_that_name_by_a_field_selector(api: Served) -> None:
    token = account(api)
    bind(api, rule("list watch", "secrets", "", "mine"))
    assert api.request("GET", f"{SECRETS}?fieldSelector=metadata.name%3Dmine", token=token).status == 200
    refused(api.request("GET", SECRETS, token=token))


def test_aggregated_roles_are_the_sum_of_those_with_the_label(api: Served) -> None:
    """ "Aggregated ClusterRoles"."""
    token = account(api)
    labelled = {"metadata": {"name": "part", "labels": {"sum": "yes"}}, "rules": [rule("list", "pods")]}
    assert api.post(f"{RBAC}/clusterroles", labelled).status == 201
    selectors = {"clusterRoleSelectors": [{"matchLabels": {"sum": "yes"}}]}
    whole = {"metadata": {"name": "whole"}, "aggregationRule": selectors, "rules": []}
    assert api.post(f"{RBAC}/clusterroles", whole).status == 201
    role = {"kind": "ClusterRole", "name": "whole"}
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]
    body = {"metadata": {"name": "whole"}, "roleRef": role, "subjects": subjects}
    assert api.post(f"{RBAC}/clusterrolebindings", body).status == 201
    assert api.request("GET", "/api/v1/pods", token=token).status == 200


def review(api: Served, token: str, **attributes: str) -> Any:
    body = {"spec": {"resourceAttributes": attributes}}
    reply = api.request("POST", f"{REVIEWS}/selfsubjectaccessreviews", body, token=token)
    assert reply.status == 201
    return reply.json["status"]


def test_one_may_ask_what_one_may(api: Served) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access"""
    token = account(api)
    assert review(api, token, verb="list", resource="pods")["allowed"] is False
    bind(api, rule("list", "pods"), namespace="default")
    allowed = review(api, token, verb="list", resource="pods", namespace="default")
    assert allowed["allowed"] is True
    assert 'to ServiceAccount "robot/default"' in allowed["reason"]
    assert review(api, token, verb="list", resource="pods")["allowed"] is False
    assert review(api, TOKEN, verb="delete", resource="nodes")["allowed"] is True
    rules = api.request(
        "POST", f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, token=token
    ).json["status"]
    assert {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]} in rules["resourceRules"]
    assert rules["incomplete"] is False
    me = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=token).json
    assert me["status"]["userInfo"]["username"] == ROBOT
    assert "system:serviceaccounts:default" in me["status"]["userInfo"]["groups"]


def test_a_requested_token_names_its_account_and_its_end(api: Served) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens"""
    token = account(api)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == ROBOT
    assert claims["kubernetes.io"]["namespace"] == "default"
    assert 3500 < claims["exp"] - time.time() <= 3600
    short = api.post(f"{ACCOUNTS}/robot/token", {"spec": {"expirationSeconds": 60}})
    assert short.status == 422
    assert "may not specify a duration less than 10 minutes" in short.json["message"]
    assert api.post(f"{ACCOUNTS}/nobody/token", {"spec": {}}).status == 404
    other = api.post(f"{ACCOUNTS}/robot/token", {"spec": {"audiences": ["vault"]}}).json["status"]["token"]
    assert api.request("GET", "/api", token=other).status == 401


def test_a_token_ends_with_its_account_or_with_the_pod_that_it_is_bound_to(api: Served) -> None:
    account(api)
    own = pod("p")
    own["spec"]["serviceAccountName"] = "robot"
    api.create("pods", own)
    api.create("pods", pod("another"))
    spec = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "another"}}
    assert api.post(f"{ACCOUNTS}/robot/token", {"spec": spec}).status == 400, "a pod of another account"
    spec = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}
    bound = api.post(f"{ACCOUNTS}/robot/token", {"spec": spec}).json["status"]["token"]
    assert api.request("GET", "/api", token=bound).status == 200
    api.request("DELETE", "/api/v1/namespaces/default/pods/p")
    assert api.request("GET", "/api", token=bound).status == 401
    free = api.post(f"{ACCOUNTS}/robot/token", {"spec": {}}).json["status"]["token"]
    api.request("DELETE", f"{ACCOUNTS}/robot")
    api.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    assert api.request("GET", "/api", token=free).status == 401


def _after(token: str, seconds: float, monkeypatch: pytest.MonkeyPatch, tokens: Tokens) -> bool:
    now = time.time()
    monkeypatch.setattr("localcluster.auth.tokens.time.time", lambda: now + seconds)
    return tokens.user_of(token) is not None


def test_a_token_is_good_until_its_time_and_with_the_right_signature(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, foreign = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    tokens = Tokens(api.registry, admin=TOKEN, key=key)
    default = api.registry.get("serviceaccounts", "default", "default")
    token, _ends = tokens.issue(default, audiences=[], seconds=600)
    assert Tokens(api.registry, admin=TOKEN, key=foreign).user_of(token) is None
    assert claims_of(token, foreign.public_key()) is None
    assert claims_of(token + "x", key.public_key()) is None
    assert claims_of(f"{token}.x", key.public_key()) is None
    assert _after(token, 0, monkeypatch, tokens)
    assert _after(token, 590, monkeypatch, tokens)
    assert not _after(token, 601, monkeypatch, tokens)


def test_a_token_without_a_subject_is_nobodys(api: Served) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    tokens = Tokens(api.registry, admin=TOKEN, key=key)
    claims: Object = {"iss": ISSUER, "aud": [ISSUER], "exp": time.time() + 60}
    for whose in ({}, {"kubernetes.io": {"serviceaccount": {"name": "x"}}}):
        assert tokens.user_of(jwt.encode(claims | whose, key, "ES256")) is None


def secret_for(api: Served, name: str) -> Callable[[], str]:
    metadata = {"name": f"{name}-token", "annotations": {"kubernetes.io/service-account.name": name}}
    reply = api.post(SECRETS, {"metadata": metadata, "type": "kubernetes.io/service-account-token"})
    assert reply.status == 201, reply.body

    def token() -> str:
        data = api.get(f"{SECRETS}/{name}-token").json.get("data") or {}
        return base64.b64decode(data.get("token", "")).decode()

    return token


def test_a_token_secret_is_filled_in_and_revoked_with_it(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets"""
    account(api)
    token = wait_until("the token", secret_for(api, "robot"))
    data = api.get(f"{SECRETS}/robot-token").json["data"]
    assert set(data) == {"ca.crt", "namespace", "token"}
    bind(api, rule("list", "pods"))
    assert api.request("GET", "/api/v1/pods", token=token).status == 200
    api.request("DELETE", f"{SECRETS}/robot-token")
    assert api.request("GET", "/api/v1/pods", token=token).status == 401
    again = wait_until("the next token", secret_for(api, "robot"))
    assert api.request("GET", "/api/v1/pods", token=again).status == 200
    api.request("DELETE", f"{ACCOUNTS}/robot")
    assert api.request("GET", "/api/v1/pods", token=again).status == 401
    wait_until("the secret to go, too", lambda: api.get(f"{SECRETS}/robot-token").status == 404)


def test_a_token_secret_must_name_its_account(api: Served) -> None:
    reply = api.post(SECRETS, {"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"})
    assert reply.status == 422
    assert "metadata.annotations[kubernetes.io/service-account.name]: Required value" in reply.json["message"]


def test_the_administrator_may_act_as_another(api: Served) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/"""
    token = account(api)
    as_jane = {"Impersonate-User": "jane", "Impersonate-Group": "readers"}
    bind(api, rule("list", "pods"), subject={"kind": "Group", "name": "readers"})
    assert api.request("GET", "/api/v1/pods", headers=as_jane).status == 200
    assert 'User "jane" cannot list' in refused(api.request("GET", "/api/v1/nodes", headers=as_jane))
    assert api.request("GET", "/api/v1/pods", headers={"Impersonate-Group": "readers"}).status == 400
    assert 'cannot impersonate resource "users"' in refused(
        api.request("GET", "/api/v1/pods", headers=as_jane, token=token)
    )
