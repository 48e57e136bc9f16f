"""The API server's rules on names, labels and annotations; what breaks them comes back as causes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localcluster.causes import Cause, required, wrong

Obj = dict[str, Any]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PORT_LETTERS = re.compile(r"[-a-z0-9]+")
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/%]+")
#: Bytes of keys and values together.
_MOST_ANNOTATIONS = 256 * 1024

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character"
)
#: Kinds whose names are one label. A Service's may begin with a digit from Kubernetes 1.34 on, which this is not.
_OF_ONE_LABEL = {"namespaces": (LABEL, LABEL_RULE), "services": (_SERVICE, _SERVICE_RULE)}
_OF_A_PATH = {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}


def name_problems(resource: str, name: str) -> Iterator[Cause]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names"""
    field = "metadata.name"
    if not name:
        yield required(field, "name or generateName is required")
    elif resource in _OF_A_PATH:
        if not _PATH_SEGMENT.fullmatch(name):
            yield wrong(field, name, "may not be '.' or '..' or contain '/' or '%'")
    else:
        pattern, rule = _OF_ONE_LABEL.get(resource, (_SUBDOMAIN, _SUBDOMAIN_RULE))
        most = 63 if resource in _OF_ONE_LABEL else 253
        if len(name) > most:
            yield wrong(field, name, f"must be no more than {most} characters")
        elif not pattern.fullmatch(name):
            yield wrong(field, name, rule)


def port_name_problems(name: str, field: str) -> Iterator[Cause]:
    """IsValidPortName of apimachinery: how ports are called in containers and by Services, as in RFC 6335."""
    if len(name) > 15:
        yield wrong(field, name, "must be no more than 15 characters")
    if not _PORT_LETTERS.fullmatch(name):
        yield wrong(field, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= letter <= "z" for letter in name):
        yield wrong(field, name, "must contain at least one letter (a-z)")
    if "--" in name:
        yield wrong(field, name, "must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        yield wrong(field, name, "must not begin or end with a hyphen")


def _is_key(key: str) -> bool:
    prefix, _, last = key.rpartition("/")
    return len(last) <= 63 and bool(_LABEL_NAME.fullmatch(last)) and (not prefix or bool(_SUBDOMAIN.fullmatch(prefix)))


def label_problems(labels: Obj | None, field: str) -> Iterator[Cause]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set"""
    for key, value in (labels or {}).items():
        if not _is_key(key):
            why = "a valid label key is a name of at most 63 characters with an optional prefix and /"
            yield wrong(field, key, why)
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            too_long = isinstance(value, str) and len(value) > 63
            yield wrong(field, value, "must be no more than 63 characters" if too_long else _LABEL_VALUE_RULE)


def annotation_problems(stated: Obj | None, field: str) -> Iterator[Cause]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set"""
    size = 0
    for key, value in (stated or {}).items():
        if not _is_key(key.lower()):
            why = "a valid annotation key is a name of at most 63 characters with an optional prefix and /"
            yield wrong(field, key, why)
        size += len(key.encode()) + len((value or "").encode())
    if size > _MOST_ANNOTATIONS:
        yield (field, "FieldValueTooLong", f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes")
