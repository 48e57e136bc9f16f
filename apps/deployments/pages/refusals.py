"""A cluster's refusal of a dry run, at the field of the form that it is about. Pure."""

from collections.abc import Sequence

from django import forms

from apps.deployments.services import Rehearsal

# What API servers and their admission say, in the order in which it is looked for, and the field that it is about.
_ABOUT = (
    ("tolerations", "tolerations"),
    ("affinity", "affinity"),
    ("topologySpreadConstraints", "topology_spread"),
    ("nodeSelector", "node_selector"),
    ("PriorityClass", "priority_class"),
    ("priorityClassName", "priority_class"),
    ("imagePullSecrets", "image_pull_secrets"),
    ("imagePullPolicy", "image_pull_policy"),
    ("volume", "volumes"),
    ("valueFrom", "secret_env"),
    (".env[", "env"),
    ("livenessProbe", "live_path"),
    ("startupProbe", "live_path"),
    ("readinessProbe", "ready_path"),
    ("containerPort", "port"),
    ("nvidia.com/gpu", "gpu"),
    ("memory", "memory"),
    ("cpu", "cpu"),
    (".image", "image"),
    (".command", "command"),
    (".args", "command"),
)


def field_about(message: str) -> str | None:
    """The field of the form that a refusal is about; None where it is about none, as a full quota is."""
    if "exceeded quota" in message:
        return None
    return next((field for word, field in _ABOUT if word in message), None)


def put_refusals(form: forms.Form, answers: Sequence[Rehearsal]) -> None:
    """Say beside its fields what clusters refuse; the same words of several targets once."""
    by_words: dict[str, list[str]] = {}
    for answer in answers:
        if answer.accepted is False:
            by_words.setdefault(answer.message, []).append(answer.target)
    for message, targets in by_words.items():
        field = field_about(message)
        if field in form.fields:
            form.add_error(field, f"{', '.join(targets)}: {message}")
