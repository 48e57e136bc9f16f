"""The base of the serializers of all apps."""

import functools
from typing import Any

from rest_framework import serializers


class Strict(serializers.Serializer[Any]):
    """A request that refuses what it does not know, at any depth: a misspelled field must not be ignored."""

    also_known: tuple[str, ...] = ()

    @classmethod
    def read(cls, data: Any) -> dict[str, Any]:
        """The checked values of a request's body. Raises ValidationError, as `is_valid` does.

        By one serializer for all requests: REST framework would copy all fields, at any depth, for each of them.
        """
        if data is None:
            raise serializers.ValidationError({"non_field_errors": ["No data provided"]})
        checked: dict[str, Any] = _reader(cls).run_validation(data)
        return checked

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Name the unknown fields, then check the known ones."""
        names = set(data) if isinstance(data, dict) else set()
        unknown = sorted(names - set(self.fields) - set(self.also_known) - {"project", "dry_run"})
        if unknown:
            raise serializers.ValidationError({key: ["There is no such field."] for key in unknown})
        checked: dict[str, Any] = super().to_internal_value(data)
        return checked


@functools.cache
def _reader(kind: type[Strict]) -> Strict:
    return kind()
