"""One wish for many runs: a run for each combination of a matrix' values. Pure.

A value is a param of its run, and a variable of the container's environment: a command line reads it as `$LR`, words
have it as `$(LR)`, so that no language of templates is needed.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Invalid
from apps.experiments.specs import RESERVED_ENV

TAG = "flotilla.matrix"
"""The tag that all runs of one matrix have in common."""
MAX_RUNS = 500


def combinations(wish: Mapping[str, Any], mark: str) -> list[dict[str, Any]]:
    """The wishes that one with a `matrix` stands for, each with a name, params and an environment of its own, and with
    `mark` as its tag. One without a matrix is alone, as it is.

    Raises Invalid naming the field.
    """
    if "matrix" not in wish:
        return [dict(wish)]
    matrix = _matrix(wish["matrix"])
    single = {key: value for key, value in wish.items() if key != "matrix"}
    _check_free(matrix, single)
    return [_of(single, dict(zip(matrix, values, strict=True)), mark) for values in itertools.product(*matrix.values())]


def _of(single: Mapping[str, Any], values: Mapping[str, str], mark: str) -> dict[str, Any]:
    told = " ".join(f"{name}={value}" for name, value in values.items())
    return {
        **single,
        "name": f"{single.get('name') or ''} {told}".strip()[:250],
        "params": {**(single.get("params") or {}), **values},
        "env": {**(single.get("env") or {}), **values},
        "tags": {**(single.get("tags") or {}), TAG: mark},
    }


def _matrix(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or not value:
        hint = 'For example {"LR": ["0.1", "0.01"], "DEPTH": ["3", "5"]}.'
        raise Invalid("matrix is an object of names, each with a list of values.", field="matrix", hint=hint)
    matrix = {name: _values(name, values) for name, values in value.items()}
    if (count := math.prod(map(len, matrix.values()))) > MAX_RUNS:
        raise Invalid(
            f"This matrix has {count:,} combinations; {MAX_RUNS} runs are launched together at most.",
            field="matrix",
            hint="Leave out some values, or launch a part of them at a time.",
        )
    return matrix


def _values(name: Any, values: Any) -> list[str]:
    # Kubernetes allows more letters in a variable's name, but no shell could read them.
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        hint = "Letters, digits and _ only: write LEARNING_RATE, say, for learning-rate."
        raise Invalid(f"{name!r} can't be the name of a shell's variable.", field="matrix", hint=hint)
    if name in RESERVED_ENV:
        raise Invalid(f"{name} is set by Flotilla in every run.", field="matrix", hint="Choose another name.")
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise Invalid(f"{name} has a list of one value or more.", field="matrix", hint='For example ["0.1", "0.01"].')
    if not all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
        raise Invalid(f"A value of {name} is neither a string nor a number.", field="matrix")
    counted = Counter(map(str, values))
    [(most, times)] = counted.most_common(1)
    if times > 1:
        raise Invalid(f"{name} has {most[:100]!r} twice.", field="matrix", hint="Each combination is launched once.")
    return list(counted)


def _check_free(matrix: Mapping[str, Any], single: Mapping[str, Any]) -> None:
    for field in ("params", "env", "secret_env"):
        for name in matrix:
            if name in (single.get(field) or {}):
                raise Invalid(f"{name} is in {field}, too.", field="matrix", hint="Leave it out of one of them.")
