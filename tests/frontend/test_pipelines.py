"""A pipeline run in a real browser: it fits, is reached by keys, and follows what happens."""

import os
from pathlib import Path

from playwright.sync_api import expect

from apps.core.access import Principal
from apps.core.models import Project, User
from apps.workflows import services
from apps.workflows.models import PipelineRun, Step
from apps.workflows.services.common import tell
from tests.workflows.pipelines import DIGITS


def _wide() -> str:
    steps = []
    for number in range(200):
        needs = ", ".join(f"s{need}" for need in sorted({max(number - 9, 0), number // 2} - {number}))
        steps.append(f"  - {{name: s{number}, needs: [{needs}], run: {{image: busybox}}}}")
    return "\n".join(["name: wide", "steps:", *steps])


# Where pictures of the pages are kept for whoever wants to look at them.
SHOTS = os.environ.get("FLOTILLA_SHOTS")


def begun(person: User, project: Project, source: str) -> PipelineRun:
    version, _ = services.create_version(principal=Principal(user=person), project=project, source=source)
    return services.start(principal=Principal(user=person), pipeline=version.pipeline)


def keep(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_pipeline_run_is_followed_and_fits_every_screen(open_page, person, project):
    run = begun(person, project, DIGITS)
    run.steps.filter(name="prepare").update(state="Succeeded", outputs={"rows": 1300.0})
    run.steps.filter(name="train").update(state="Running")
    address = f"/p/{project.name}/pipelines/digits/"
    page = open_page(f"{address}runs/1/")
    expect(page.locator(".dag .node")).to_have_count(6)
    keep(page, "run")
    page.locator(".dag .node", has_text="prepare").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#step h2")).to_have_text("prepare")
    expect(page.locator("#step")).to_contain_text("1300")
    Step.objects.filter(pipeline_run=run, name="approve").update(state="Paused", message="Shall it serve?")
    Step.objects.filter(pipeline_run=run, name="train").update(state="Failed")
    tell(run.pipeline, run)
    expect(page.locator(".dag .node.bad")).to_have_count(1)
    page.goto(f"{address}runs/1/?step=approve")
    keep(page, "waiting")
    for width, scheme in ((390, "light"), (1440, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for path in (f"{address}runs/1/", address, address.replace("digits/", ""), address.replace("digits/", "new")):
            page.goto(path)
            assert fits(page), f"{path} at {width}"
            keep(page, f"{path.strip('/').replace('/', '-')}-{width}")


def test_two_hundred_steps_are_readable(open_page, person, project):
    begun(person, project, _wide())
    page = open_page(f"/p/{project.name}/pipelines/wide/runs/1/")
    expect(page.locator(".dag .node")).to_have_count(200)
    assert fits(page)
    keep(page, "wide")
