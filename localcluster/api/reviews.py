"""authorization.k8s.io/v1 and authentication.k8s.io/v1: who am I, and may I?

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.auth.attributes import Attributes
from localcluster.auth.rbac import Rbac
from localcluster.auth.users import User
from localcluster.errors import bad_request, invalid
from localcluster.schema.check import fit

Obj = dict[str, Any]


def _wish(spec: Obj) -> Attributes:
    """The request that a SelfSubjectAccessReview asks about. Raises StatusError 422."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    cause = None
    if resource and path:
        why = "cannot be specified in combination with resourceAttributes"
        cause = ("spec.nonResourceAttributes", "FieldValueInvalid", f"Invalid value: {why}")
    elif not resource and not path:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = ("spec.resourceAttributes", "FieldValueRequired", f"Required value: {why}")
    if cause:
        raise invalid("SelfSubjectAccessReview", "", [cause], "authorization.k8s.io")
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{field: (resource or {}).get(field) or "" for field in fields})


def _access(rbac: Rbac, user: User, spec: Obj) -> Obj:
    reason = rbac.allows(user, _wish(spec))
    if reason is None:
        return {"allowed": False}
    return {"allowed": True, "reason": reason} if reason else {"allowed": True}


def _rules(rbac: Rbac, user: User, spec: Obj) -> Obj:
    namespace = spec.get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    rules = rbac.rules(user, namespace)
    fields = ("verbs", "apiGroups", "resources", "resourceNames")
    return {
        "resourceRules": [
            {name: rule[name] for name in fields if rule.get(name)} for rule in rules if "resources" in rule
        ],
        "nonResourceRules": [
            {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": False,
    }


async def handle_review(kind: str, rbac: Rbac, user: User, request: Request) -> Response:
    """POST of a SelfSubjectAccessReview, SelfSubjectRulesReview or SelfSubjectReview. Raises StatusError 400, 422."""
    group = "authentication" if kind == "SelfSubjectReview" else "authorization"
    spec: Obj = fit(await request.document(), f"io.k8s.api.{group}.v1.{kind}").get("spec") or {}
    if kind == "SelfSubjectReview":
        status: Obj = {"userInfo": user.info()}
    else:
        status = (_access if kind == "SelfSubjectAccessReview" else _rules)(rbac, user, spec)
    review = {"kind": kind, "apiVersion": f"{group}.k8s.io/v1", "metadata": {}, "spec": spec, "status": status}
    if kind == "SelfSubjectReview":
        del review["spec"]
    return answer(review, 201)
