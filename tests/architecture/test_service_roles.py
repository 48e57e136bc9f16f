"""What a service says of the role that it needs is what it asks for.

`Needs the developer role.` stands in the docstring of every service that a caller reaches; the code is read, calls into
other services included. A caller without the role gets NotAllowed from the service itself, whatever its door checks.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PACKAGES = (
    "apps.core.services",
    "apps.clusters.services",
    "apps.clusters.usage.prices",
    "apps.experiments.services",
    "apps.deployments.services",
    "apps.workflows.services",
)
PLATFORM = "platform administrator"
_SAYS = re.compile(r"needs? (?:the (\w+) role|a (platform administrator))", re.IGNORECASE)
# What depends on the arguments; the docstring has a sentence of its own, and a test elsewhere.
DEPENDS = {
    "apps.core.services.tokens.create_token": "its maker's",
    "apps.core.services.tokens.revoke_token": "one's own",
    "apps.core.services.people.set_password": "one's own",
    "apps.deployments.services.targets.create_target": "admin",
    "apps.workflows.services.approving.decide_step": "the step's",
    # Reads.
    "apps.core.services.tokens.most_of": "nobody's",
    "apps.clusters.services.lifecycle.dependents_of": PLATFORM,
}


def services() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function that takes a principal."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for said in getattr(package, "__all__", None) or vars(package):
            service = getattr(package, said)
            if not inspect.isfunction(service) or said.startswith("_") or not service.__module__.startswith(name):
                continue
            if "principal" in inspect.signature(service).parameters:
                yield f"{service.__module__}.{service.__name__}", inspect.unwrap(service)


SERVICES = dict(services())


def asked(function: Callable[..., Any], seen: frozenset[Any] = frozenset()) -> set[str]:
    """The roles that the code of a function requires, itself or by what it calls in the services."""
    function = inspect.unwrap(function)
    if function in seen:
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    own, called = set[str](), set[str]()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "require_platform_admin":
            own.add(PLATFORM)
        elif node.func.id == "require_role":
            own |= {part.attr.lower() for part in ast.walk(node.args[2]) if isinstance(part, ast.Attribute)}
        else:
            inner = vars(inspect.getmodule(function)).get(node.func.id)
            if inspect.isfunction(inner) and inner.__module__.startswith(PACKAGES):
                called |= asked(inner, seen | {function})
    return own or called


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_asks_for_the_role_that_it_says(name: str) -> None:
    # Wherever its lines break.
    said = _SAYS.search(" ".join((inspect.getdoc(SERVICES[name]) or "").split()))
    roles = asked(SERVICES[name])
    if name in DEPENDS:
        assert inspect.getdoc(SERVICES[name])
        return
    assert roles, f"{name} asks for no role"
    assert said is not None, f"{name} does not say that it needs {roles}"
    assert roles == {(said[1] or said[2]).lower()}, f"{name} says {said[0]!r} and asks for {roles}"


def test_the_walk_finds_the_services_and_what_they_ask_for() -> None:
    assert len(SERVICES) > 45
    assert asked(SERVICES["apps.experiments.services.experiments.delete_experiment"]) == {"developer"}
    assert asked(SERVICES["apps.core.services.projects.delete_project"]) == {PLATFORM}
