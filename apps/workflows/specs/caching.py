"""When a step that has succeeded before need not run again: all that its result follows from is equal. Pure.

A name of an image may mean something else tomorrow, and so may a branch, a volume and a Secret. So a step is reused by
itself only where all of that is pinned; its author may say that it is (`cache: true`), or that it never is.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from apps.experiments.specs import RunSpec

_PINNED_IMAGE = re.compile(r".+@sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What a result does not follow from; the contents of inputs are there by their digests.
_ASIDE = frozenset({"resources", "deadline_seconds", "retries", "retry_on", "queue", "inputs"})


def fingerprint(
    spec: RunSpec, params: Mapping[str, str], digests: Mapping[str, tuple[str, ...]], *, asked: bool | None
) -> str:
    """What is equal for two steps of which one may stand for the other; "" for one that none may.

    `digests` are those of the contents of each input, `params` what the run is told to log, and `asked` what the step
    says of its cache, if anything.
    """
    unknown = any("" in each for each in digests.values())
    if asked is False or unknown or (asked is None and not pinned(spec)):
        return ""
    known = {key: value for key, value in spec.to_json().items() if key not in _ASIDE}
    said = {"spec": known, "params": dict(params), "inputs": digests}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def pinned(spec: RunSpec) -> bool:
    """Whether all that it names will be the same tomorrow."""
    by_name = any("emptyDir" not in volume.source for volume in spec.pod.volumes) or bool(spec.pod.secret_env)
    commit = spec.code is None or bool(_COMMIT.fullmatch(spec.code.ref))
    return bool(_PINNED_IMAGE.fullmatch(spec.image)) and commit and not by_name and spec.checkpoints is None
