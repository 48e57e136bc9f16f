"""The RBAC authorizer: what the bindings of a user, and of the groups that the user is in, allow.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcluster.auth.users import SERVICE_ACCOUNT_PREFIX, User
from localcluster.selectors import label_selector_matches

if TYPE_CHECKING:
    from localcluster.auth.attributes import Attributes
    from localcluster.registry import Registry

Obj = dict[str, Any]

KINDS = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
#: The subject of a binding: ("User" or "Group", name). A ServiceAccount is the user that it acts as.
_Subject = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """The rules that one binding gives to one subject; everywhere when ``namespace`` is None."""

    namespace: str | None
    rules: tuple[Obj, ...]
    said: str


def _has(name: str, listed: list[str] | None) -> bool:
    return any(each in ("*", name) for each in listed or ())


def rule_allows(rule: Obj, wish: Attributes) -> bool:
    """Does one rule of a role allow it?"""
    if not _has(wish.verb, rule.get("verbs")):
        return False
    if not wish.resource:
        urls = rule.get("nonResourceURLs") or ()
        return any(url == wish.path or (url.endswith("*") and wish.path.startswith(url[:-1])) for url in urls)
    if not _has(wish.group, rule.get("apiGroups")):
        return False
    resources = rule.get("resources") or ()
    named = (wish.full_resource, "*", f"*/{wish.subresource}") if wish.subresource else (wish.resource, "*")
    if not any(each in named for each in resources):
        return False
    names = rule.get("resourceNames") or ()
    return not names or wish.name in names


def _subject(subject: Obj, namespace: str) -> tuple[_Subject, str]:
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind != "ServiceAccount":
        return (kind, name), f'{kind} "{name}"'
    home = subject.get("namespace") or namespace
    return ("User", f"{SERVICE_ACCOUNT_PREFIX}{home}:{name}"), f'{kind} "{name}/{home}"'


class Rbac:
    """Answers from an index of all bindings, made anew after any of them or any role has changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._grants: dict[_Subject, list[Grant]] | None = None
        registry.listen(KINDS, lambda _change: self._forget())

    def _forget(self) -> None:
        self._grants = None

    def allows(self, user: User, wish: Attributes) -> str | None:
        """The binding that allows a request, in words ('' for the administrator); None when no binding does."""
        if user.is_master:
            return ""
        for grant in self._of(user, wish.namespace):
            if not wish.resource and grant.namespace is not None:
                continue
            if any(rule_allows(rule, wish) for rule in grant.rules):
                return grant.said
        return None

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """Every rule that the user has in a namespace, those of the whole cluster included."""
        if user.is_master:
            everything: Obj = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return [everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        return [rule for grant in self._of(user, namespace) for rule in grant.rules]

    def _of(self, user: User, namespace: str) -> Iterator[Grant]:
        if self._grants is None:
            self._grants = self._index()
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for grant in self._grants.get(subject, ()):
                if grant.namespace is None or grant.namespace == namespace:
                    yield grant

    def _index(self) -> dict[_Subject, list[Grant]]:
        grants: dict[_Subject, list[Grant]] = defaultdict(list)
        for plural in ("clusterrolebindings", "rolebindings"):
            for binding in self._registry.list(plural):
                metadata, role = binding["metadata"], binding.get("roleRef") or {}
                namespace = metadata.get("namespace")
                rules = self._rules_of(role, namespace)
                if not rules:
                    continue
                name = f"{metadata['name']}/{namespace}" if namespace else metadata["name"]
                for subject in binding.get("subjects") or ():
                    key, described = _subject(subject, namespace or "")
                    origin = f'{binding["kind"]} "{name}" of {role.get("kind")} "{role.get("name")}" to {described}'
                    grants[key].append(Grant(namespace, rules, f"RBAC: allowed by {origin}"))
        return dict(grants)

    def _rules_of(self, reference: Obj, namespace: str | None) -> tuple[Obj, ...]:
        kind, name = reference.get("kind"), reference.get("name", "")
        plural = "clusterroles" if kind == "ClusterRole" else "roles"
        if not self._registry.exists(plural, name, namespace):
            return ()
        role = self._registry.get(plural, name, namespace)
        rules = list(role.get("rules") or ())
        # https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            for other in self._registry.list("clusterroles"):
                if label_selector_matches(selector, other["metadata"].get("labels")):
                    rules += other.get("rules") or ()
        return tuple(rules)
