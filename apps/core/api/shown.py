"""Serializers that show objects, without what REST framework does again for each request and each object."""

import functools
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from rest_framework import serializers

# The name of a field, the attributes that lead to its value, how a value is shown, and the field itself.
Step = tuple[str, tuple[str, ...], Callable[[Any], Any], Any]


class Shown(serializers.Serializer[Any]):
    """Shows an object as any serializer does, by a plan that is made once for each class.

    REST framework copies all fields for each serializer and walks them with every check for each object. For fields
    that depend on nothing but the object: a field that needs the serializer's context has no place here.
    """

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The object's fields by name."""
        shown: dict[str, Any] = {}
        for name, path, show, field in _plan(type(self)):
            value = instance
            try:
                for attribute in path:
                    value = value[attribute] if isinstance(value, dict) else getattr(value, attribute)
            except (AttributeError, KeyError, ObjectDoesNotExist):
                try:
                    # It knows about defaults, and what is an error.
                    value = field.get_attribute(instance)
                except serializers.SkipField:
                    continue
            shown[name] = None if value is None else show(value)
        return shown


@functools.cache
def _plan(kind: type[Shown]) -> list[Step]:
    """The fields that are read, of one instance that lives as long as the process."""
    fields = [field for field in kind().fields.values() if not field.write_only]
    return [(str(field.field_name), tuple(field.source_attrs), field.to_representation, field) for field in fields]
