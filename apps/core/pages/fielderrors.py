"""What is wrong with a field of a form, in a sentence that names the field and says what to do.

Django's own ("This field is required.") say neither: where a form shows an error, it is worded here.
"""

from typing import Any

from django.forms import BaseForm, BoundField, CheckboxInput, FileField, ValidationError
from django.forms.widgets import ChoiceWidget

# How Django's sentences begin that stand in for one of ours.
_DJANGOS = ("This field is required", "Ensure this value ", "Enter a ", "Select a valid choice")


def errors_of(bound: BoundField) -> list[str]:
    """What is wrong with a field, a sentence each."""
    return [_worded(bound, error) for error in bound.errors.as_data()]


def told(form: BaseForm, name: str) -> str:
    """The first that is wrong with a field, for a place that does not show the field itself."""
    sentence, label = errors_of(form[name])[0], form[name].label
    return sentence if f"“{label}”" in sentence else f"{label}: {sentence}"


def _worded(bound: BoundField, error: ValidationError) -> str:
    given: dict[str, Any] = error.params or {}
    sentence = str(error.messages[0])
    if not sentence.startswith(_DJANGOS):
        return sentence
    called = f"“{bound.label}”"
    match error.code:
        case "required":
            return f"{called} is needed: {_step(bound)}."
        case "min_value":
            return f"{called} is {given['limit_value']} at least."
        case "max_value":
            return f"{called} is {given['limit_value']} at most."
        case "max_length":
            return f"{called} has {given['limit_value']} letters at most, and this has {given['show_value']}."
        case "invalid_choice":
            value = f" “{str(given['value'])[:100]}”" if given.get("value") else " that"
            return f"{called} does not offer{value}: choose one of those that it does."
    # "Enter a whole number." as "“Replicas” is a whole number."
    return f"{called} is {sentence.removeprefix('Enter ')}"


def _step(bound: BoundField) -> str:
    if isinstance(bound.field.widget, CheckboxInput):
        return "tick it"
    if isinstance(bound.field.widget, ChoiceWidget):
        return "choose one"
    return "choose a file" if isinstance(bound.field, FileField) else "fill it in"
