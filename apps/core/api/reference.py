"""The REST API for people to read, made of its OpenAPI schema. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
_REF = "#/components/schemas/"


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of an object. `kind` says of what it is; `schema` names the one that tells more."""

    name: str
    kind: str
    schema: str
    is_required: bool
    about: str


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    key: str
    method: str
    path: str
    summary: str
    more: str
    parameters: list[Field]
    body: list[Field]
    answers: list[tuple[str, list[str]]]
    example: str
    console: str


@dataclass(frozen=True)
class Described:
    """A schema that operations refer to."""

    name: str
    fields: list[Field]


@dataclass(frozen=True)
class Reference:
    """All that the page shows: operations by their tag, and the schemas of their answers."""

    groups: list[tuple[str, list[Operation]]]
    schemas: list[Described]

    @property
    def count(self) -> int:
        """How many operations there are."""
        return sum(len(operations) for _, operations in self.groups)


def reference_of(document: Schema, server: str) -> Reference:
    """An OpenAPI document (3.1) as a reference; examples ask `server`."""
    schemas = document["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(schemas, server, path, method, operation))
    described = [Described(name, _fields(schemas, one)) for name, one in sorted(schemas.items()) if "properties" in one]
    return Reference(sorted(groups.items()), described)


def _operation(schemas: Schema, server: str, path: str, method: str, operation: Schema) -> Operation:
    summary, _, more = operation.get("description", "").replace("`", "").strip().partition("\n\n")
    wanted = _of_json(operation.get("requestBody", {}))
    body = list(
        {field.name: field for name in _objects(schemas, wanted) for field in _fields(schemas, schemas[name])}.values()
    )
    return Operation(
        key=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=" ".join(summary.split()),
        more=" ".join(more.split()),
        parameters=[_field(schemas, each["name"], each["schema"], each) for each in operation.get("parameters", [])],
        body=body,
        answers=[
            (code, list(_objects(schemas, _of_json(answer)))) for code, answer in sorted(operation["responses"].items())
        ],
        example=_example(server + path, method.upper(), [each for each in body if each.is_required], bool(wanted)),
        console=f"#/{operation['tags'][0]}/{operation['operationId']}",
    )


def _example(address: str, method: str, fields: list[Field], has_body: bool) -> str:
    lines = [f"curl{'' if method == 'GET' else f' -X {method}'} {address}", "-H 'Authorization: Bearer flt_…'"]
    if has_body:
        given = json.dumps({each.name: "…" for each in fields}, ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d '{given}'"]
    return " \\\n  ".join(lines)


def _of_json(holder: Schema) -> Schema:
    """The schema of the JSON of a body or an answer: empty where there is none."""
    schema: Schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _resolved(schemas: Schema, schema: Schema) -> Schema:
    """The schema that a reference stands for; itself where it is none."""
    resolved: Schema = schemas[schema["$ref"].removeprefix(_REF)] if "$ref" in schema else schema
    return resolved


def _fields(schemas: Schema, schema: Schema) -> list[Field]:
    required = schema.get("required", [])
    return [
        _field(schemas, name, one, {"required": name in required}) for name, one in schema.get("properties", {}).items()
    ]


def _field(schemas: Schema, name: str, schema: Schema, about: Schema) -> Field:
    return Field(
        name=name + (" (in the path)" if about.get("in") == "path" else ""),
        kind=_kind(schemas, schema),
        schema=next(_objects(schemas, schema), ""),
        is_required=bool(about.get("required")),
        about=" ".join([about.get("description") or schema.get("description", ""), *_limits(schema)])
        .replace("`", "")
        .strip(),
    )


def _said(*sentences: str) -> str:
    return " ".join(sentences).replace("`", "").strip()


def _names(schema: Schema) -> Iterator[str]:
    """The schemas that one refers to."""
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(_REF)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from _names(schema[key])
    for key in ("allOf", "oneOf", "anyOf"):
        for one in schema.get(key, []):
            yield from _names(one)


def _objects(schemas: Schema, schema: Schema) -> Iterator[str]:
    """The names of the schemas with fields of their own that one stands for: several where it may be any of them."""
    for name in _names(schema):
        if "properties" in schemas[name]:
            yield name
        else:
            yield from _objects(schemas, schemas[name])


def _kind(schemas: Schema, schema: Schema) -> str:
    """Of what a value is, in words."""
    if "$ref" in schema:
        target = _resolved(schemas, schema)
        return _kind(schemas, target) if "properties" not in target else schema["$ref"].removeprefix(_REF)
    parts = schema.get("allOf") or schema.get("oneOf") or schema.get("anyOf")
    if parts:
        return " or ".join(dict.fromkeys(_kind(schemas, one) for one in parts))
    if "enum" in schema:
        return " or ".join("null" if value is None else json.dumps(value) for value in schema["enum"])
    if "items" in schema:
        return f"list of {_kind(schemas, schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping) and schema["additionalProperties"]:
        return f"object of {_kind(schemas, schema['additionalProperties'])}"
    told = schema.get("type", "any")
    words = [told] if isinstance(told, str) else list(told)
    said = {"date-time": "time", "double": "number"}.get(schema.get("format", ""))
    return " or ".join("null" if word == "null" else said or word for word in words)


def _limits(schema: Schema) -> Iterator[str]:
    if "maxLength" in schema:
        yield f"At most {schema['maxLength']:,} characters."
    if "minimum" in schema and "maximum" in schema:
        yield f"From {schema['minimum']:,} to {schema['maximum']:,}."
    elif "minimum" in schema:
        yield f"At least {schema['minimum']:,}."
    if schema.get("default") not in (None, ""):
        yield f"Default: {json.dumps(schema['default'], ensure_ascii=False)}."
