"""Schedules as a pipeline's page shows them, and the form that makes one."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from apps.workflows import selectors
from apps.workflows.models import Pipeline, Schedule
from apps.workflows.specs.timetables import Missed, Overlap


@dataclass(frozen=True)
class Due:
    """A schedule with when it is due next."""

    row: Schedule
    times: list[datetime]


def due(pipeline: Pipeline) -> list[Due]:
    """The schedules of a pipeline with their next five times."""
    now = timezone.now()
    rows = selectors.schedules(pipeline)
    return [Due(row, row.timetable.upcoming(now) if not row.paused else []) for row in rows]


class ScheduleForm(forms.Form):
    """A schedule as a person asks for it."""

    name = forms.CharField(max_length=40, help_text="nightly, weekly-report.")
    cron = forms.CharField(
        label="When",
        max_length=100,
        help_text="Minute, hour, day, month, weekday: 30 3 * * 1-5 is 03:30 from Monday to Friday; or @daily.",
    )
    time_zone = forms.CharField(max_length=60, initial="UTC", help_text="Such as Europe/Berlin.")
    overlap = forms.ChoiceField(
        label="Where its former run is still under way",
        choices=[
            (Overlap.FORBID.value, "Start none"),
            (Overlap.ALLOW.value, "Start another beside it"),
            (Overlap.REPLACE.value, "Cancel it, and start another"),
        ],
    )
    missed = forms.ChoiceField(
        label="Where Flotilla was away",
        choices=[(Missed.ONCE.value, "Start one as soon as it is back"), (Missed.SKIP.value, "Wait for the next time")],
    )
    params = forms.CharField(
        label="Parameters",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"}),
        help_text='JSON, such as {"epochs": 20}. What is left out has its default.',
    )

    def clean_params(self) -> dict[str, Any]:
        """An object of names and values."""
        try:
            said = json.loads(self.cleaned_data["params"] or "{}")
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("This is no JSON.") from error
        if not isinstance(said, dict):
            raise forms.ValidationError('Write an object, such as {"epochs": 20}.')
        return said
