"""POST serviceaccounts/token: a TokenRequest is answered with a token that ends by itself.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from __future__ import annotations

from typing import Any

from localcluster.api.http import Request, Response, answer
from localcluster.api.requestinfo import Target
from localcluster.auth.tokens import Tokens
from localcluster.errors import bad_request, conflict, invalid
from localcluster.meta import time_of
from localcluster.registry import Registry
from localcluster.schema.check import fit

Obj = dict[str, Any]

_SHORTEST, _LONGEST, _USUAL = 600, 1 << 32, 3600
_BINDABLE = {"Pod": "pods", "Secret": "secrets"}


def _seconds(spec: Obj) -> int:
    seconds = spec.get("expirationSeconds") or _USUAL
    if not _SHORTEST <= seconds <= _LONGEST:
        why = "may not specify a duration less than 10 minutes"
        if seconds > _LONGEST:
            why = "may not specify a duration larger than 2^32 seconds"
        cause = ("spec.expirationSeconds", "FieldValueInvalid", f"Invalid value: {seconds}: {why}")
        raise invalid("TokenRequest", "", [cause], "authentication.k8s.io")
    return int(seconds)


def _bound(registry: Registry, reference: Obj | None, account: Obj) -> Obj | None:
    if not reference:
        return None
    resource = _BINDABLE.get(reference.get("kind", ""))
    if resource is None:
        raise bad_request(f"cannot bind token for serviceaccount to object of type {reference.get('kind')}")
    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    obj = registry.get(resource, reference.get("name", ""), namespace)
    if resource == "pods" and obj["spec"].get("serviceAccountName") != name:
        why = "to pod running with different serviceaccount name"
        raise bad_request(f'cannot bind token for serviceaccount "{name}" {why}')
    uid = reference.get("uid")
    if uid and uid != obj["metadata"]["uid"]:
        why = f"the UID in the bound object reference ({uid}) does not match the UID in record"
        raise conflict(resource, obj["metadata"]["name"], why)
    return obj


async def handle_token_request(registry: Registry, tokens: Tokens, target: Target, request: Request) -> Response:
    """POST. Raises StatusError 400, 404, 409 and 422."""
    body = fit(await request.document(), "io.k8s.api.authentication.v1.TokenRequest")
    spec: Obj = body.get("spec") or {}
    account = registry.get("serviceaccounts", target.name or "", target.namespace)
    seconds = _seconds(spec)
    bound = _bound(registry, spec.get("boundObjectRef"), account)
    audiences = [str(each) for each in spec.get("audiences") or ()]
    token, ends = tokens.issue(account, audiences=audiences, seconds=seconds, bound=bound)
    return answer(
        {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": {**spec, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": time_of(ends)},
        },
        201,
    )
