"""Write ``wire.json``: the field numbers of the served kinds, for bodies in Kubernetes' protobuf encoding.

They come from the descriptors inside a ``kubectl`` of release 1.33 (Apache License 2.0, the Kubernetes authors), whose
path is the one argument. Needs the ``protobuf`` package, which the server itself does not.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from localcluster.resources import RESOURCES
from localcluster.schema.build import ALSO
from localcluster.schema.types import definitions
from localcluster.schema.wire import TARGET

_GZIP = b"\x1f\x8b\x08"
_LARGEST = 2_000_000
_TYPES = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}


def messages_in(program: bytes) -> dict[str, DescriptorProto]:
    """Every message of the descriptors that a Go program carries, by full name."""
    messages: dict[str, DescriptorProto] = {}
    for place in re.finditer(re.escape(_GZIP), program):
        unpacker = zlib.decompressobj(31)
        try:
            raw = unpacker.decompress(program[place.start() : place.start() + _LARGEST])
        except zlib.error:
            continue  # those bytes were no gzip header
        if unpacker.eof and b"generated.proto" in raw[:200]:
            file = FileDescriptorProto.FromString(raw)
            messages.update({f"{file.package}.{message.name}": message for message in file.message_type})
    return messages


def _definition(message: str) -> dict[str, Any]:
    name = message.replace("k8s.io.", "io.k8s.", 1)
    return definitions().get(name) or {}


def _fields(name: str, message: DescriptorProto) -> dict[str, list[str]]:
    """By number: [JSON name, type, flags]; the flags are repeated, map and inline."""
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    known = _definition(name).get("properties")
    fields: dict[str, list[str]] = {}
    for field in message.field:
        # uID is uid in JSON.
        json_name = next((each for each in known or () if each.lower() == field.name.lower()), field.name)
        type_, flags = field.type_name.lstrip("."), []
        nested = maps.get(type_.rpartition(".")[2]) if type_ else None
        if nested:
            value = nested.field[1]
            type_ = value.type_name.lstrip(".") or _TYPES[value.type]
            flags.append("map")
        elif field.label == FieldDescriptorProto.LABEL_REPEATED:
            flags.append("repeated")
        elif type_ and known is not None and json_name not in known:
            # A struct that Go embeds: its fields are the message's own in JSON.
            flags.append("inline")
        fields[str(field.number)] = [json_name, type_ or _TYPES[field.type], *flags]
    return fields


def wire_table(messages: dict[str, DescriptorProto]) -> dict[str, Any]:
    """The messages that the served kinds need."""
    # Definitions of custom kinds come as JSON only.
    roots = [each.definition for each in RESOURCES if each.definition.startswith("io.k8s.api.")] + list(ALSO)
    todo = [name.replace("io.k8s.", "k8s.io.", 1) for name in roots]
    todo += ["k8s.io.api.authentication.v1.SelfSubjectReview"]
    table: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name not in table:
            table[name] = _fields(name, messages[name])
            todo += [field[1] for field in table[name].values() if field[1].startswith("k8s.io.")]
    return dict(sorted(table.items()))


def main() -> None:
    """Read the program and write the table."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m localcluster.schema.build_wire /path/to/kubectl (of release 1.33)")
    table = wire_table(messages_in(Path(sys.argv[1]).read_bytes()))
    TARGET.write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
