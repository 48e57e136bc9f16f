"""The spec of a run: frozen dataclasses that manifests and decisions are made from. Pure."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.clusters import podoptions
from apps.clusters.podoptions import NO_OPTIONS, PodOptions
from apps.clusters.quantities.sizes import Size, sensible
from apps.core.errors import Invalid
from apps.core.text.names import is_dns_label, is_variable
from apps.experiments.specs.checkpoints import Checkpoints, parse_checkpoints
from apps.experiments.specs.code import Code, parse_code
from apps.experiments.specs.files import NO_FILES, Files, parse_files
from apps.experiments.specs.trainer import check_for_trainer, parse_trainer
from apps.experiments.states import COUNTED, Cause
from kubevalues.quantities import parse

CONTAINER = "run"
"""The name of the container in a run's pod."""
MAX_ARGUMENTS = 500
MAX_TEXT = 100_000
MAX_DEADLINE_SECONDS = 90 * 24 * 3600
MAX_RETRIES = 100
MAX_WORKERS = 256
# Causes that are tried again unless a policy says otherwise. A run that can't start, or is refused, would be so again.
RETRIED = (Cause.ERROR, Cause.OUT_OF_MEMORY)
# Variables that Flotilla itself sets for a run: a spec that sets them, too, would cut the run off from us.
RESERVED_ENV = frozenset(
    {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_WORKSPACE"}
)


@dataclass(frozen=True)
class Resources:
    """Requests and limits of the one container, as Kubernetes quantities; GPUs are whole."""

    cpu: str = "500m"
    memory: str = "512Mi"
    gpu: int = 0

    def sensible(self) -> Size:
        """The amounts, if any machine could give them. Raises Invalid saying what was probably meant.

        Only new requests are checked so; stored specs go on as they are.
        """
        return sensible(self.cpu, self.memory, self.gpu)


@dataclass(frozen=True)
class Retries:
    """How often a failure is tried again, and which kind. An interruption is always tried again, uncounted."""

    limit: int = 0
    causes: tuple[str, ...] = RETRIED


# Options of runs alone: a deployment's revision, made of the same container options, does not have these.
ONLY_OF_RUNS = (
    "command_line",
    "deadline_seconds",
    "workers",
    "retries",
    "retry_on",
    "git",
    "queue",
    "checkpoints",
    "runtime",
    "inputs",
    "outputs",
)


@dataclass(frozen=True)
class RunSpec:
    """A container to run to its end, in `workers` pods at once; `deadline_seconds` covers all attempts."""

    image: str
    command_line: str = ""
    """The line that a shell in the container reads; then `command` and `args` are empty."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    deadline_seconds: int | None = None
    pod: PodOptions = NO_OPTIONS
    workers: int = 1
    retries: Retries = Retries()
    code: Code | None = None
    """The repository that the command runs in."""
    queue: str = ""
    """The LocalQueue of Kueue in the namespace that says when it may begin."""
    checkpoints: Checkpoints | None = None
    """The directory that outlives its pods."""
    trainer: str = ""
    """The runtime by which Kubeflow Trainer runs it; "" where it is a Job."""
    files: Files = NO_FILES
    """What it finds when it begins, and what is kept when it has ended."""

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "image": self.image,
            "command_line": self.command_line,
            "command": list(self.command),
            "args": list(self.args),
            "env": dict(self.env),
            "resources": {"cpu": self.resources.cpu, "memory": self.resources.memory, "gpu": self.resources.gpu},
            "deadline_seconds": self.deadline_seconds,
            "workers": self.workers,
            "retries": self.retries.limit,
            "retry_on": [str(cause) for cause in self.retries.causes],
            **self.pod.to_json(),
            **({"git": self.code.to_json()} if self.code is not None else {}),
            **({"queue": self.queue} if self.queue else {}),
            **({"checkpoints": self.checkpoints.to_json()} if self.checkpoints is not None else {}),
            **({"runtime": {"trainer": self.trainer}} if self.trainer else {}),
            **self.files.to_json(),
        }


def parse_spec(data: Mapping[str, Any]) -> RunSpec:
    """Check what a person or a program asked for. Raises Invalid naming the field and what it should be."""
    image = data.get("image")
    if not isinstance(image, str) or not image.strip() or len(image) > 500 or re.search(r"\s", image.strip()):
        raise Invalid("A run needs the name of a container image.", field="image", hint='For example "python:3.11".')
    env, pod = _env(data.get("env")), podoptions.parse(data)
    check_variables(pod.secret_env, RESERVED_ENV, env)
    trainer = parse_trainer(data.get("runtime"))
    if trainer:
        check_for_trainer(data)
    workers = _whole(data.get("workers"), "workers", default=1, least=1, most=MAX_WORKERS)
    return RunSpec(
        image=image.strip(),
        command_line=_command_line(data),
        command=_words(data.get("command"), "command"),
        args=_words(data.get("args"), "args"),
        env=env,
        resources=_resources(data.get("resources")),
        deadline_seconds=_deadline(data.get("deadline_seconds")),
        pod=pod,
        workers=workers,
        retries=parse_retries(data),
        code=parse_code(data.get("git"), pod.volumes),
        queue=_queue(data.get("queue")),
        checkpoints=parse_checkpoints(data.get("checkpoints"), {**env, **pod.secret_env}, pod.volumes),
        trainer=trainer,
        files=parse_files(data, {**env, **pod.secret_env}, pod.volumes, workers),
    )


def check_variables(secret_env: Mapping[str, Any], reserved: Container[str], env: Container[str] = ()) -> None:
    """Refuse a variable out of a Secret that is there already. Raises Invalid naming it."""
    for name in secret_env:
        if name in reserved:
            raise Invalid(f"{name} is set by Flotilla.", field=f"secret_env.{name}", hint="Leave it out.")
        if name in env:
            raise Invalid(f"{name} is in env, too.", field=f"secret_env.{name}", hint="Leave it out of one of them.")


def parse_retries(data: Mapping[str, Any]) -> Retries:
    """The policy that `retries` and `retry_on` tell. Raises Invalid naming the field."""
    named = data.get("retry_on")
    if named is not None and (
        not isinstance(named, list | tuple) or not named or not all(cause in COUNTED for cause in named)
    ):
        raise Invalid(f"retry_on is a list of some of: {', '.join(COUNTED)}.", field="retry_on")
    return Retries(
        limit=_whole(data.get("retries"), "retries", default=0, least=0, most=MAX_RETRIES),
        causes=tuple(dict.fromkeys(map(Cause, named))) if named is not None else RETRIED,
    )


def _command_line(data: Mapping[str, Any]) -> str:
    line = data.get("command_line") or ""
    if not isinstance(line, str):
        raise Invalid(
            "command_line is one string, which a shell reads.", field="command_line", hint="A list goes into command."
        )
    if line and (data.get("command") or data.get("args")):
        raise Invalid(
            "command_line stands for command and args.", field="command_line", hint="Give the one or the others."
        )
    if len(line) > MAX_TEXT:
        raise Invalid(f"command_line is too long: {MAX_TEXT} letters at most.", field="command_line")
    return line


def _words(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Invalid(f"{name} is a list of strings.", field=name, hint='For example ["python", "train.py"].')
    if len(value) > MAX_ARGUMENTS or sum(map(len, value)) > MAX_TEXT:
        raise Invalid(f"{name} is too long.", field=name, hint=f"At most {MAX_ARGUMENTS} items and {MAX_TEXT} letters.")
    if name == "command" and value and not value[0].strip():
        raise Invalid("command begins with the program, and that has a name.", field=name)
    return tuple(value)


def _env(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid("env is an object of names and values.", field="env")
    checked: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not is_variable(name):
            raise Invalid(f"{name!r} can't be the name of an environment variable.", field="env")
        if name in RESERVED_ENV:
            raise Invalid(f"{name} is set by Flotilla in every run.", field="env", hint="Leave it out.")
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise Invalid(f"The value of {name} is not a string.", field="env")
        checked[name] = str(text)
    if sum(len(name) + len(text) for name, text in checked.items()) > MAX_TEXT:
        raise Invalid("env is too long.", field="env", hint=f"At most {MAX_TEXT} letters in all.")
    return checked


def _resources(value: Any) -> Resources:
    if value is None:
        return Resources()
    if not isinstance(value, Mapping):
        raise Invalid("resources is an object with cpu, memory and gpu.", field="resources")
    default = Resources()
    sizes = {}
    for name in ("cpu", "memory"):
        quantity = value.get(name)
        text = getattr(default, name) if quantity in (None, "") else str(quantity).strip()
        _check_positive(text, name)
        sizes[name] = text
    gpu = value.get("gpu") or 0
    if not isinstance(gpu, int) or isinstance(gpu, bool) or not 0 <= gpu <= 1024:
        raise Invalid("gpu is a whole number of GPUs.", field="resources.gpu")
    return Resources(cpu=sizes["cpu"], memory=sizes["memory"], gpu=gpu)


def _check_positive(text: str, name: str) -> None:
    hint = 'Write "500m" or "2".' if name == "cpu" else 'Write "512Mi" or "4Gi".'
    try:
        positive = parse(text) > 0
    except ValueError as error:
        raise Invalid(str(error), field=f"resources.{name}", hint=hint) from error
    if not positive:
        raise Invalid(f"{name} must be more than nothing.", field=f"resources.{name}", hint=hint)


def _whole(value: Any, name: str, *, default: int, least: int, most: int) -> int:
    if value in (None, ""):
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{name} is a whole number from {least} to {most}.", field=name)
    return value


def _queue(value: Any) -> str:
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not is_dns_label(value):
        raise Invalid(f"{value!r} can't be the name of a queue.", field="queue", hint='Such as "team-a".')
    return value


def _deadline(value: Any) -> int | None:
    if value in (None, ""):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_DEADLINE_SECONDS:
        raise Invalid("deadline_seconds is a whole number of seconds, at most 90 days.", field="deadline_seconds")
    return value
