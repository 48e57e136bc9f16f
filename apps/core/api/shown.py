"""Serializers that show objects, without what REST framework does again for each request and each object."""

import functools
import operator
from collections.abc import Callable
from datetime import UTC
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from rest_framework import serializers

Read = Callable[[Any], Any]
# The name of a field, how its value is read from an object or from a dict, how it is shown, and the field itself.
Step = tuple[str, Read, Read, Callable[[Any], Any], Any]


class Shown(serializers.Serializer[Any]):
    """Shows an object as any serializer does, by a plan that is made once for each class.

    REST framework copies all fields for each serializer and walks them with every check for each object. For fields
    that depend on nothing but the object: a field that needs the serializer's context has no place here.
    """

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The object's fields by name."""
        shown: dict[str, Any] = {}
        is_dict = isinstance(instance, dict)
        for name, of_object, of_dict, show, field in _plan(type(self)):
            try:
                value = of_dict(instance) if is_dict else of_object(instance)
            except (AttributeError, KeyError, ObjectDoesNotExist, serializers.SkipField):
                try:
                    # It knows about dicts within objects and about defaults, and what is an error.
                    value = field.get_attribute(instance)
                except serializers.SkipField:
                    continue
            shown[name] = None if value is None else show(value)
        return shown


@functools.cache
def _plan(kind: type[Shown]) -> list[Step]:
    """The fields that are read, of one instance that lives as long as the process."""
    return [_step(field) for field in kind().fields.values() if not field.write_only]


def _step(field: Any) -> Step:
    if isinstance(field, serializers.DateTimeField):
        # Times are said in UTC; else it would ask for the zone of the thread at each value.
        field.timezone = UTC
    path = field.source_attrs
    of_object: Read = operator.attrgetter(".".join(path)) if path else _itself
    of_dict: Read = operator.itemgetter(*path) if len(path) == 1 else field.get_attribute
    return str(field.field_name), of_object, of_dict, field.to_representation, field


def _itself(instance: Any) -> Any:
    return instance
