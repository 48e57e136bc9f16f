"""What REST says of a field's value, in place of REST framework's own words: what is wrong, and what would be right.

Each sentence begins with "It": `problems` puts the field's place there, so that the whole says what to change:
"replicas has to be a whole number." It has to be in use before the first serializer is declared.
"""

from typing import Any

from rest_framework import serializers

_NUMBER = {
    "max_value": "It may be at most {max_value}.",
    "min_value": "It has to be at least {min_value}.",
    "max_string_length": "It has too many digits.",
    "overflow": "It is too large a number.",
}
_LIST = {
    "not_a_list": "It has to be a list, and is of the type {input_type}.",
    "empty": "It is an empty list: name at least one, or leave it out.",
    "max_length": "It may have at most {max_length} items.",
    "min_length": "It has to have at least {min_length} items.",
}
_WORDS: dict[type[serializers.Field[Any, Any, Any, Any]], dict[str, str]] = {
    serializers.Field: {
        "required": "It is missing: add it to the request.",
        "null": "It may not be null: give it a value, or leave it out.",
    },
    serializers.BooleanField: {"invalid": "It has to be true or false."},
    serializers.CharField: {
        "invalid": "It has to be text.",
        "blank": "It is empty: give it a value.",
        "max_length": "It may have at most {max_length} characters.",
        "min_length": "It has to have at least {min_length} characters.",
    },
    serializers.ChoiceField: {"invalid_choice": 'It can\'t be "{input}": the reference of the API lists what it can.'},
    serializers.DateTimeField: {"invalid": "It has to be a time such as 2026-01-31T12:00:00Z."},
    serializers.DictField: {
        "not_a_dict": "It has to be an object, and is of the type {input_type}.",
        "empty": "It is an empty object: give it a value, or leave it out.",
    },
    serializers.FloatField: {"invalid": "It has to be a number.", **_NUMBER},
    serializers.IntegerField: {"invalid": "It has to be a whole number.", **_NUMBER},
    serializers.ListField: _LIST,
    serializers.ListSerializer: _LIST,
    serializers.RegexField: {"invalid": "It does not have the form that it has to have."},
    serializers.Serializer: {"invalid": "It has to be an object with fields, and is of the type {datatype}."},
    serializers.URLField: {"invalid": "It has to be an address such as https://example.org."},
}


def use() -> None:
    """Let all fields that are declared from now on speak so."""
    for kind, words in _WORDS.items():
        kind.default_error_messages = {**kind.__dict__.get("default_error_messages", {}), **words}
