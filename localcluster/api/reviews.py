"""authorization.k8s.io/v1: may I? The one token is the administrator's, so the answer is always yes."""

from __future__ import annotations

from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.errors import bad_request

USER = {"username": "local-admin", "groups": ["system:masters", "system:authenticated"]}


async def handle_review(kind: str, request: Request) -> Response:
    """POST of a SelfSubjectAccessReview, SelfSubjectRulesReview or SelfSubjectReview. Raises StatusError 400."""
    body = await request.document()
    if not isinstance(body, dict):
        raise bad_request(f"the body must be a {kind}")
    spec: dict[str, Any] = body.get("spec") or {}
    group = "authentication" if kind == "SelfSubjectReview" else "authorization"
    status: dict[str, Any]
    if kind == "SelfSubjectAccessReview":
        if not spec.get("resourceAttributes") and not spec.get("nonResourceAttributes"):
            raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
        status = {"allowed": True, "reason": "local-admin may do everything"}
    elif kind == "SelfSubjectRulesReview":
        status = {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    else:
        status = {"userInfo": USER}
    review = {"kind": kind, "apiVersion": f"{group}.k8s.io/v1", "metadata": {}, "spec": spec, "status": status}
    if kind == "SelfSubjectReview":
        del review["spec"]
    return answer(review, 201)
