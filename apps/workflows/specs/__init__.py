"""A pipeline as frozen values: its parameters and its steps. Decisions are made from them. Pure.

`parsing` makes them of what a person wrote, and checks it; `to_json` and `from_json` are the form that is stored.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_STEPS = 1000
"""The most steps of a pipeline run, each item of a step that has several counted."""


class Kind(enum.StrEnum):
    """The kinds of steps, by the key that holds what a step does."""

    RUN = "run"
    REGISTER = "register"
    DEPLOY = "deploy"
    APPROVE = "approve"
    PIPELINE = "pipeline"


class ParameterType(enum.StrEnum):
    """The types of parameters."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    LIST = "list"


@dataclass(frozen=True)
class Parameter:
    """A value that whoever starts the pipeline may give. `default` is None where they have to."""

    name: str
    type: ParameterType = ParameterType.STRING
    default: Any = None
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "name": self.name,
            "type": self.type.value,
            "default": self.default,
            "description": self.description,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Parameter":
        """What `to_json` wrote."""
        return cls(data["name"], ParameterType(data["type"]), data["default"], data["description"])


@dataclass(frozen=True)
class Each:
    """A step once for each item of a list, at most `limit` of them at once. `items` may be an expression that reads
    parameters."""

    items: tuple[Any, ...] | str
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {"in": self.items if isinstance(self.items, str) else list(self.items), "limit": self.limit}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Each":
        """What `to_json` wrote."""
        items = data["in"]
        return cls(items if isinstance(items, str) else tuple(items), data["limit"])


@dataclass(frozen=True)
class StepSpec:
    """A step: what it does (`body`, whose texts may hold expressions), and all steps that it needs, named or implied by
    what it reads. `when` is an expression without its marks; `deadline_seconds` counts from its start; `cache` says
    whether an equal step's success may stand for it, None where that follows from what it names. One `on_exit`
    begins when all others have ended, however they have."""

    name: str
    kind: Kind
    body: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    when: str = ""
    each: Each | None = None
    deadline_seconds: int | None = None
    cache: bool | None = None
    on_exit: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "body": dict(self.body),
            "needs": list(self.needs),
            "when": self.when,
            "each": self.each.to_json() if self.each else None,
            "deadline_seconds": self.deadline_seconds,
            **({"cache": self.cache} if self.cache is not None else {}),
            **({"on_exit": True} if self.on_exit else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StepSpec":
        """What `to_json` wrote."""
        return cls(
            name=data["name"],
            kind=Kind(data["kind"]),
            body=data["body"],
            needs=tuple(data["needs"]),
            when=data["when"],
            each=Each.from_json(data["each"]) if data["each"] else None,
            deadline_seconds=data["deadline_seconds"],
            cache=data.get("cache"),
            on_exit=data.get("on_exit", False),
        )


@dataclass(frozen=True)
class PipelineSpec:
    """A pipeline. The steps stand in an order in which each comes after all that it needs, those of `on_exit` last."""

    name: str
    steps: tuple[StepSpec, ...]
    description: str = ""
    params: tuple[Parameter, ...] = ()
    deadline_seconds: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "name": self.name,
            "description": self.description,
            "params": [each.to_json() for each in self.params],
            "steps": [each.to_json() for each in self.steps],
            "deadline_seconds": self.deadline_seconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PipelineSpec":
        """What `to_json` wrote."""
        return cls(
            name=data["name"],
            description=data["description"],
            params=tuple(map(Parameter.from_json, data["params"])),
            steps=tuple(map(StepSpec.from_json, data["steps"])),
            deadline_seconds=data["deadline_seconds"],
        )
