"""What differs between an object as we applied it and the object as it is: a hand's edits, and whose hand it was. Pure.

Only what we stated is compared, value by value, so what the API server fills in is no difference; what it writes
another way (`1000m` as `1`) is not either, because what was applied is kept as the server answered it. What was added
inside of it is found by the managers of the fields.
"""

import copy
import enum
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apps.clusters.manifests import DEPLOYMENT
from apps.deployments.drift.ownership import (
    Holder,
    Item,
    Path,
    held_part,
    is_whole,
    item_of,
    key_of,
    label_of,
    matching,
    others,
    ours,
)
from apps.deployments.manifests import ASKED
from apps.deployments.manifests.sizes import PATHS as _NOT_COMPARED
from apps.deployments.manifests.sizes import unsized

# The parts of an object that are ours to state, and the places inside of it where others may add.
_PARTS = (("metadata", "labels"), ("metadata", "annotations"), ("spec",))
# `kubectl rollout restart` and sidecar injectors write here: no edit of what runs.
_OPEN = ("spec", "template", "metadata", "annotations")
# The reason, in CamelCase, of a deployment that is not as it was applied.
EDITED = "EditedByHand"
MAX_SHOWN = 20
MAX_TEXT = 120


class Kind(enum.StrEnum):
    """The way in which a field differs."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    # Its value is as applied, but somebody else has made it theirs.
    TAKEN = "taken"


@dataclass(frozen=True)
class Difference:
    """One field that is not as applied; `applied` and `found` are short JSON, and "" where they must not be shown."""

    object: str
    field: str
    kind: Kind
    applied: str = ""
    found: str = ""
    manager: str = ""
    at: str = ""

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown."""
        return asdict(self)


@dataclass(frozen=True)
class _Deviation:
    path: Path
    kind: Kind
    applied: Any = None
    live: Any = None


class Act(enum.StrEnum):
    """The action that an object needs."""

    MAKE = "make"
    APPLY = "apply"
    ADOPT = "adopt"
    LEAVE = "leave"


def act_on(live: Mapping[str, Any] | None, rendered: Mapping[str, Any], asked: str, kept: str | None) -> Act:
    """What to do so that the object is as `asked`; `kept` is what was asked when it was applied, where that is known.

    Never decided by what today's code renders, but for one thing: an object without a note of what was asked for it,
    which an older Flotilla applied, or somebody whose rows are lost, is adopted if it runs the image that is asked for.
    """
    if live is None:
        return Act.MAKE
    if kept == asked:
        return Act.LEAVE
    noted = (live["metadata"].get("annotations") or {}).get(ASKED)
    if noted == asked or (noted is None and _images(live) == _images(rendered)):
        return Act.ADOPT
    return Act.APPLY


def is_noted(obj: Mapping[str, Any]) -> bool:
    """Whether it bears a note of what was asked: then it was applied by a Flotilla."""
    return ASKED in ((obj.get("metadata") or {}).get("annotations") or {})


def is_of(obj: Mapping[str, Any], notes: Collection[str]) -> bool:
    """Whether we applied it for the deployment of which these are the `notes`, though a hand took its labels off.

    Another object that somebody has made under its name has neither one of our notes nor a field that we hold.
    """
    metadata = obj.get("metadata") or {}
    noted = (metadata.get("annotations") or {}).get(ASKED)
    if noted is not None:
        return noted in notes
    return DEPLOYMENT not in (metadata.get("labels") or {}) and bool(ours(obj))


def differences(live: Mapping[str, Any], applied: Mapping[str, Any]) -> list[Difference]:
    """Every field of `live` that is not as `applied`, at most `MAX_SHOWN`."""
    name = f"{live.get('kind') or applied['kind']} {applied['metadata']['name']}"
    strangers = others(live)
    deviations = [*_compared(live, applied, strangers), *_added(live, applied, strangers)]
    return [_difference(name, deviation, strangers) for deviation in deviations[:MAX_SHOWN]]


def sentence(stored: Sequence[Mapping[str, str]]) -> str:
    """What differs, in a sentence for people; "" when nothing does."""
    if not stored:
        return ""
    first = stored[0]
    by = f" by {first['manager']}" if first["manager"] else ""
    at = f" at {first['at']}" if first["at"] else ""
    more = f", and {len(stored) - 1} more" if len(stored) > 1 else ""
    return f"Edited by hand: {first['field']} of {first['object']} was {first['kind']}{by}{at}{more}."


def projection(answer: Any, stated: Any) -> Any:
    """What the API server made of the fields that were stated: what is kept as applied."""
    if isinstance(stated, Mapping) and isinstance(answer, Mapping):
        return {name: projection(answer[name], value) for name, value in stated.items() if name in answer}
    if isinstance(stated, list) and isinstance(answer, list):
        key = key_of(stated)
        if key:
            pairs = [(item_of(answer, key, item), item) for item in stated]
            return [projection(there, item) for there, item in pairs if there is not None]
        if len(stated) == len(answer):
            return [projection(there, item) for there, item in zip(answer, stated, strict=True)]
    return copy.deepcopy(answer)


def adopted(live: Mapping[str, Any], rendered: Mapping[str, Any]) -> dict[str, Any]:
    """What was applied of an object of which nothing was kept: what we still hold of it, as it is.

    A field that `rendered` states too, and that somebody else holds alone, was taken from us: it is as `rendered`.
    """
    trees = [holder.tree for holder in ours(live)]
    held = held_part({"metadata": live["metadata"], "spec": live["spec"]}, trees) if trees else {}
    metadata = {part: (held.get("metadata") or {}).get(part) or {} for part in ("labels", "annotations")}
    base = {
        "apiVersion": rendered["apiVersion"],
        "kind": rendered["kind"],
        "metadata": {name: rendered["metadata"][name] for name in ("name", "namespace")} | metadata,
        "spec": held.get("spec") or projection(live["spec"], rendered["spec"]),
    }
    base = unsized(base)
    return {**base, "spec": _completed(base["spec"], rendered["spec"], live["spec"], others(live), ("spec",))}


def undoing(applied: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any] | None:
    """The merge patch that removes what others added, with all else as applied; None when nothing was added.

    Server-side apply leaves alone what others added. A merge patch replaces lists whole, and removes what is null.
    """
    added = [deviation.path for deviation in _added(live, applied, others(live))]
    if not added:
        return None
    patch: dict[str, Any] = {"spec": copy.deepcopy(applied["spec"])}
    for path in added:
        place: Any = patch
        for step in path[:-1]:
            if isinstance(step, Item) or not isinstance(place, dict):
                break  # inside of a list, which the patch replaces
            place = place.setdefault(step, {})
        else:
            if isinstance(place, dict) and isinstance(path[-1], str):
                place[path[-1]] = None
    return patch


def _images(obj: Mapping[str, Any]) -> list[str]:
    """The images that it runs, and where KServe chooses one, what it chooses it by."""
    spec = obj.get("spec") or {}
    predictor = spec.get("predictor") or {}
    model = predictor.get("model") or {}
    containers = ((spec.get("template") or {}).get("spec") or predictor).get("containers") or []
    runtime = [str((model.get("modelFormat") or {}).get("name", "")), str(model.get("runtime", ""))] if model else []
    return [*runtime, *(str(container.get("image", "")) for container in containers)]


def _compared(live: Mapping[str, Any], applied: Mapping[str, Any], strangers: Sequence[Holder]) -> Iterator[_Deviation]:
    mine = ours(live)
    for part in _PARTS:
        stated, there = applied, live
        for step in part:
            stated, there = stated.get(step) or {}, there.get(step) or {}
        yield from _differing(stated, there, part, mine, strangers)


def _differing(
    stated: Any, there: Any, path: Path, mine: Sequence[Holder], strangers: Sequence[Holder]
) -> Iterator[_Deviation]:
    """The fields below `path` whose values are not as stated, or that are ours no longer."""
    if path in _NOT_COMPARED:
        return
    if isinstance(stated, Mapping) and isinstance(there, Mapping):
        for name, value in stated.items():
            if name in there:
                yield from _differing(value, there[name], (*path, name), mine, strangers)
            else:
                yield _Deviation((*path, name), Kind.REMOVED, value)
    elif isinstance(stated, list) and isinstance(there, list) and (key := key_of(stated)):
        for item in stated:
            step, counterpart = Item(label_of(item, key), item), item_of(there, key, item)
            if counterpart is None:
                yield _Deviation((*path, step), Kind.REMOVED, item)
            else:
                yield from _differing(item, counterpart, (*path, step), mine, strangers)
    elif stated != there:
        yield _Deviation(path, Kind.CHANGED, stated, there)
    elif not any(holder.holds(path) for holder in mine) and any(holder.holds(path) for holder in strangers):
        yield _Deviation(path, Kind.TAKEN)


def _added(live: Mapping[str, Any], applied: Mapping[str, Any], strangers: Sequence[Holder]) -> list[_Deviation]:
    """The fields that others added inside of what we applied. Fields without a manager are the API server's own."""
    by_path: dict[str, _Deviation] = {}
    for holder in strangers:
        tree = holder.tree.get("f:spec") or {}
        for deviation in _extra(tree, applied["spec"], live.get("spec") or {}, ("spec",)):
            by_path.setdefault(_text(deviation.path), deviation)
    return list(by_path.values())


def _extra(tree: Mapping[str, Any], stated: Any, there: Any, path: Path) -> Iterator[_Deviation]:
    if not tree and (is_whole(path[-1]) or isinstance(there, list)):
        yield from _extra_inside(stated, there, path)
    for step, inner in tree.items():
        kind, _, rest = step.partition(":")
        if kind == "f" and isinstance(stated, Mapping) and isinstance(there, Mapping):
            if (*path, rest) in (*_NOT_COMPARED, _OPEN) or rest not in there:
                continue
            if rest in stated:
                yield from _extra(inner, stated[rest], there[rest], (*path, rest))
            elif not _is_hollow(rest, inner, there[rest]):
                yield _Deviation((*path, rest), Kind.ADDED, live=there[rest])
        elif kind == "k" and isinstance(stated, list) and isinstance(there, list):
            item, own = matching(there, rest), matching(stated, rest)
            if item is None:
                continue
            below = (*path, Item(label_of(item, key_of([item])), item))
            if own is None:
                yield _Deviation(below, Kind.ADDED, live=item)
            else:
                yield from _extra(inner, own, item, below)


def _is_hollow(name: str, tree: Mapping[str, Any], there: Any) -> bool:
    """Whether its holder stated nothing by it: null, or empty objects that the API server or others fill."""
    if there is None:
        return True
    if not isinstance(there, Mapping) or is_whole(name):
        return False
    inside = ((step.partition(":")[2], inner) for step, inner in tree.items() if step != ".")
    return all(_is_hollow(field, inner, there.get(field)) for field, inner in inside)


def _extra_inside(stated: Any, there: Any, path: Path) -> Iterator[_Deviation]:
    """The fields that the holder of a whole mapping or list (a Service's selector, say) added to what is stated."""
    if isinstance(stated, Mapping) and isinstance(there, Mapping):
        for name, value in there.items():
            if name in stated:
                yield from _extra_inside(stated[name], value, (*path, name))
            else:
                yield _Deviation((*path, name), Kind.ADDED, live=value)
    elif isinstance(stated, list) and isinstance(there, list) and (key := key_of(stated)):
        for item in there:
            if key in item and item_of(stated, key, item) is None:
                yield _Deviation((*path, Item(label_of(item, key), item)), Kind.ADDED, live=item)


def _completed(held: Any, rendered: Any, live: Any, strangers: Sequence[Holder], path: Path) -> Any:
    """`held` with what `rendered` states and somebody else holds alone."""
    if isinstance(rendered, Mapping) and isinstance(held, Mapping) and isinstance(live, Mapping):
        completed = dict(held)
        for name, value in rendered.items():
            if name in held:
                completed[name] = _completed(held[name], value, live.get(name), strangers, (*path, name))
            elif name in live and (*path, name) not in _NOT_COMPARED and _taken((*path, name), strangers):
                completed[name] = copy.deepcopy(value)
        return completed
    if isinstance(rendered, list) and isinstance(held, list) and isinstance(live, list) and (key := key_of(rendered)):
        done = []
        for item in held:
            like = item_of(rendered, key, item) if key in item else None
            step = (*path, Item(label_of(item, key), item)) if like is not None else path
            there = item_of(live, key, item) if like is not None else None
            done.append(_completed(item, like, there, strangers, step))
        return done
    return held


def _taken(path: Path, strangers: Sequence[Holder]) -> bool:
    return any(holder.holds(path) for holder in strangers)


def _difference(name: str, deviation: _Deviation, strangers: Sequence[Holder]) -> Difference:
    """The difference with its author, as far as known: who removed a field holds nothing of it any more."""
    by = next((holder for holder in strangers if deviation.kind != Kind.REMOVED and holder.holds(deviation.path)), None)
    # A value that somebody put into the environment may be a secret.
    shown = not any(step == "env" for step in deviation.path)
    return Difference(
        object=name,
        field=_text(deviation.path),
        kind=deviation.kind,
        applied=_short(deviation.applied) if shown else "",
        found=_short(deviation.live) if shown else "",
        manager=by.manager[:120] if by else "",
        at=by.at[:40] if by else "",
    )


def _text(path: Path) -> str:
    text = ""
    for step in path:
        text += step.label if isinstance(step, Item) else f".{step}"
    return text.lstrip(".")


def _short(value: Any) -> str:
    """Values and lists of them; what has an inside may have an environment in it, and is told by its name alone."""
    if value is None or isinstance(value, Mapping) or (isinstance(value, list) and any(map(_has_inside, value))):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _has_inside(value: Any) -> bool:
    return isinstance(value, Mapping | list)
