"""Names as Kubernetes takes them, so that what is accepted here is valid wherever it ends up. Pure.

| given name | where it ends up | rule |
|---|---|---|
| project | namespace `flotilla-<name>`, label value | DNS label, 40 characters, and no namespace of Flotilla's own |
| deployment | Service `<name>`, workload `<name>-r<n>`, Secret `<name>-model-access`, label value | and from a letter |
| target, environment | rows and addresses | as a project |
| namespace of a target | namespace | DNS label |
| cluster | rows, addresses, label value | DNS label |
| Secret, ConfigMap, claim of a volume | references | DNS subdomain |

Kubernetes before 1.34 takes no Service whose name begins with a digit (RFC 1035); names of deployments that were taken
before this was checked go on working wherever their cluster takes them.
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/

Who may launch in a project may put anything into its namespace, and read what is mounted there: where Flotilla itself
is installed, with its Secrets, no project may be. Projects that were made before this was checked go on working.
"""

import re

from apps.core.errors import Invalid

# Leaves room in 63 characters for what we add: the prefix of the namespace, "-r<n>", "-model-access".
MAX_NAME = 40
# Before the name of a project, the namespace of its objects.
NAMESPACE_PREFIX = "flotilla-"
# Where Flotilla and what it needs is usually installed, or will be.
_OWN_NAMESPACES = frozenset(
    {
        *("flotilla", "flotilla-system", "flotilla-manager", "flotilla-control-plane", "flotilla-controlplane"),
        *("flotilla-operator", "flotilla-monitoring", "flotilla-secrets"),
    }
)
_PART = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL = re.compile(_PART)
_SUBDOMAIN = re.compile(rf"{_PART}(\.{_PART})*")
_WORD = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UNFIT = re.compile(r"[^a-z0-9]+")


def is_dns_label(text: str) -> bool:
    """Whether it can name a namespace, a volume or a cluster: RFC 1123, at most 63 characters."""
    return bool(_LABEL.fullmatch(text))


def is_subdomain(text: str) -> bool:
    """Whether it can name a Secret, a ConfigMap or a volume claim: DNS labels with dots between them."""
    return len(text) <= 253 and bool(_SUBDOMAIN.fullmatch(text))


def is_variable(text: str) -> bool:
    """Whether it can be the name of an environment variable, as Kubernetes takes them.

    https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
    """
    return bool(_VARIABLE.fullmatch(text))


def is_label_value(text: str) -> bool:
    """Whether it can be the value of a label; it may be empty."""
    return bool(_WORD.fullmatch(text))


def is_label_key(text: str) -> bool:
    """Whether it can name a label: a word, with the domain of who gives it its meaning before a slash."""
    prefix, slash, name = text.rpartition("/")
    return bool(name) and is_label_value(name) and (is_subdomain(prefix) if slash else True)


def check_name(text: str, field: str) -> None:
    """Raise Invalid unless it can name a project, a target or an environment."""
    if len(text) > MAX_NAME or not is_dns_label(text):
        raise Invalid(
            f"Use at most {MAX_NAME} lower-case letters, digits and '-', with a letter or digit at both ends.",
            field=field,
        )


def is_own_namespace(namespace: str, home: str = "") -> bool:
    """Whether Flotilla itself lives in the namespace, or may: `home` is where this one does, where that is known."""
    return namespace in _OWN_NAMESPACES or (home != "" and namespace == home)


def check_project_name(text: str, field: str, home: str = "") -> None:
    """Raise Invalid unless it can name a new project, whose namespace is nobody else's. `home`: `is_own_namespace`."""
    check_name(text, field)
    namespace = NAMESPACE_PREFIX + text
    if is_own_namespace(namespace, home):
        raise Invalid(
            f"A project {text!r} would live in namespace {namespace}, which is Flotilla's own.",
            field=field,
            hint="Choose another name.",
        )


def check_service_name(text: str, field: str) -> None:
    """Raise Invalid unless it can name a new deployment, which names a Service."""
    check_name(text, field)
    if text[0].isdigit():
        raise Invalid(
            "Begin the name with a letter: it names a Service, and many clusters take none that begins with a digit.",
            field=field,
            hint=f"For example m-{text[: MAX_NAME - 2].rstrip('-')}.",
        )


def service_name_from(text: str) -> str:
    """A name for a deployment that is like any text: "My Model_2" → "my-model-2"; "" where nothing is left of it."""
    name = _UNFIT.sub("-", text.lower()).strip("-")
    return (f"m-{name}" if name[:1].isdigit() else name)[:MAX_NAME].strip("-")
