"""The part of a pipeline's page that is about its schedules."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from apps.core.errors import FlotillaError, Missing
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page, render_page, shown_at
from apps.core.states import Role
from apps.workflows import selectors, services
from apps.workflows.pages.schedules import ScheduleForm
from apps.workflows.pages.views import shown_pipeline
from apps.workflows.specs.timetables import parse_timetable


@page(acts_once=True)
@require_POST
def create(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """Make a schedule."""
    pipeline = selectors.pipeline(request.principal, name, Role.DEVELOPER, project=project)
    form = ScheduleForm(request.POST)
    if form.is_valid():
        said = form.cleaned_data
        try:
            schedule = services.create_schedule(
                principal=request.principal,
                pipeline=pipeline,
                name=said["name"],
                timetable=parse_timetable(said["cron"], said["time_zone"], said["overlap"], said["missed"]),
                params=said["params"],
            )
        except FlotillaError as error:
            field = error.field.partition(".")[0]
            form.add_error(field if field in form.fields else None, error.sentence)
        else:
            messages.success(request, f"{schedule.name} is there: {schedule.timetable.words}.")
            return redirect("workflows:detail", project=project.name, name=name)
    shown_at(request, reverse("workflows:detail", args=[project.name, name]))
    context = shown_pipeline(request, project, name) | {"schedule_form": form}
    return render_page(request, "workflows/detail.html", context, status=400)


@page
@require_POST
def act(request: PageRequest, project: Project, name: str, schedule: str, word: str) -> HttpResponse:
    """Pause, resume or delete a schedule."""
    pipeline = selectors.pipeline(request.principal, name, Role.DEVELOPER, project=project)
    row = selectors.schedule(pipeline, schedule)
    if word == "delete":
        services.delete_schedule(principal=request.principal, schedule=row)
    elif word in ("pause", "resume"):
        services.pause_schedule(principal=request.principal, schedule=row, paused=word == "pause")
    else:
        raise Missing(f"A schedule can't be told to {word}.")
    said = {"delete": "starts nothing any more", "pause": "is paused", "resume": "goes on"}[word]
    messages.success(request, f"{schedule} {said}.")
    return redirect("workflows:detail", project=project.name, name=name)
