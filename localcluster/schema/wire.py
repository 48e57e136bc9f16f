"""Bodies in ``application/vnd.kubernetes.protobuf``, which ``kubectl create`` and Go clients send by default.

Decoding only: answers are JSON, which these clients accept as well.
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from localcluster.errors import bad_request

TARGET = Path(__file__).with_name("wire.json")

_MAGIC = b"k8s\x00"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1"
Obj = dict[str, Any]
#: A field on the wire: its number, and an int (varint, fixed) or bytes.
_Pair = tuple[int, int | bytes]


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(TARGET.read_text())
    return loaded


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise bad_request("protobuf: a number is too long")


def _pairs(data: bytes) -> Iterator[_Pair]:
    """The fields of a message. Raises StatusError 400 when it is cut short."""
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield number, value
                continue
            if kind == 2:
                size, at = _varint(data, at)
            else:
                size = {1: 8, 5: 4}.get(kind, -1)
            if size < 0 or at + size > len(data):
                raise bad_request("protobuf: the body is cut short or broken")
            yield number, data[at : at + size]
            at += size
    except IndexError as error:
        raise bad_request("protobuf: the body is cut short") from error


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _plain(data: bytes) -> dict[int, Any]:
    return dict(_pairs(data))


def _time(data: bytes, *, micro: bool) -> str | None:
    fields = _plain(data)
    if not fields:
        return None
    moment = datetime.fromtimestamp(_signed(fields.get(1, 0)), UTC)
    if not micro:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fields.get(2, 0) // 1000:06d}Z"


def _int_or_string(data: bytes) -> int | str:
    fields = _plain(data)
    return str(fields.get(3, b""), "utf-8") if fields.get(1) else _signed(fields.get(2, 0))


#: Messages whose JSON is not an object of their fields.
_SPECIAL: dict[str, Callable[[bytes], Any]] = {
    f"{_META}.Time": lambda data: _time(data, micro=False),
    f"{_META}.MicroTime": lambda data: _time(data, micro=True),
    f"{_META}.FieldsV1": lambda data: json.loads(_plain(data).get(1, b"{}")),
    "k8s.io.apimachinery.pkg.api.resource.Quantity": lambda data: str(_plain(data).get(1, b"0"), "utf-8"),
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": lambda data: json.loads(_plain(data).get(1, b"null")),
}


def _value(raw: int | bytes, type_: str) -> Any:
    if isinstance(raw, int):
        return bool(raw) if type_ == "bool" else _signed(raw)
    if type_ == "string":
        return raw.decode()
    if type_ == "bytes":
        return base64.b64encode(raw).decode()
    if type_ == "double":
        return struct.unpack("<d", raw)[0]
    return _SPECIAL[type_](raw) if type_ in _SPECIAL else _message(raw, type_)


def _message(data: bytes, name: str) -> Obj:
    fields = _table()[name]
    obj: Obj = {}
    for number, raw in _pairs(data):
        field = fields.get(str(number))
        if field is None:
            # A newer client; dropping what it says in silence would be worse than refusing.
            raise bad_request(f"protobuf: {name} has no field number {number} in Kubernetes 1.33; send JSON")
        json_name, type_, *flags = field
        if "map" in flags and isinstance(raw, bytes):
            entry = _plain(raw)
            key = entry.get(1, b"").decode()
            # A value that is left out is the empty one of its type.
            obj.setdefault(json_name, {})[key] = _value(entry.get(2, b""), type_)
        elif "repeated" in flags:
            obj.setdefault(json_name, []).append(_value(raw, type_))
        elif "inline" in flags and isinstance(raw, bytes):
            obj.update(_message(raw, type_))
        else:
            value = _value(raw, type_)
            # Go writes fields that are not pointers even when they are empty; JSON leaves these out.
            if value not in ("", None):
                obj[json_name] = value
    return obj


def _message_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    package = group.split(".")[0] or "core"
    names = [f"k8s.io.api.{package}.{version}.{kind}", f"{_META}.{kind}"]
    known = next((name for name in names if name in _table()), None)
    if known is None:
        raise bad_request(f"protobuf: {api_version} {kind} is not served here")
    return known


def decode(body: bytes) -> Obj:
    """The object in a protobuf body. Raises StatusError 400."""
    if not body.startswith(_MAGIC):
        raise bad_request("protobuf: the body does not begin with the Kubernetes prefix")
    envelope = _plain(body[len(_MAGIC) :])
    type_meta = _plain(envelope.get(1, b""))
    api_version, kind = (str(type_meta.get(number, b""), "utf-8") for number in (1, 2))
    try:
        obj = _message(envelope.get(2, b""), _message_name(api_version, kind))
    except (UnicodeDecodeError, struct.error, json.JSONDecodeError, TypeError, AttributeError) as error:
        raise bad_request(f"protobuf: the body is broken: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **obj}
