"""The page of what one revision changes of another: every field, before and after, and as lines of YAML."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.text.numbers import whole
from apps.deployments import selectors
from apps.deployments.models import Revision
from apps.deployments.pages.rows import who
from apps.deployments.pages.spectext import as_text, difference
from apps.deployments.rollout.changes import Change, changes_between
from apps.deployments.services.server import is_own

# So many revisions can be chosen to compare with.
MOST = 50
SHOWN = 5


@dataclass(frozen=True)
class Changes:
    """What a revision changes, for a table of it, and for the few lines that a card shows at once."""

    all: list[Change]

    @property
    def first(self) -> list[Change]:
        """Those that a card shows at once."""
        return self.all[:SHOWN]

    @property
    def is_cut(self) -> bool:
        """Whether these are not the whole."""
        return len(self.all) > SHOWN or any(change.is_long for change in self.first)

    @property
    def count(self) -> str:
        """ "12 fields", in words."""
        return "1 field" if len(self.all) == 1 else f"{len(self.all)} fields"


def changes_of(before: Revision | None, after: Revision) -> Changes:
    """What `after` changes; all that it sets, where nothing was before."""
    return Changes(changes_between(before.spec if before else None, after.spec))


@page(takes={"against": asked.NUMBER})
@require_safe
def compare(request: PageRequest, project: Project, name: str, revision: int) -> HttpResponse:
    """What a revision changes of the one before it, or of another one."""
    deployment = selectors.deployment(request.principal, name, project=project)
    before, after = selectors.compared(deployment, revision, whole(request.GET.get("against", "")))
    context = {
        "project": project,
        "deployment": deployment,
        "before": before,
        "after": after,
        "by": who(after.created_by),
        "changes": changes_of(before, after),
        "difference": difference(_text(before), _text(after)),
        "others": [number for number in selectors.revision_numbers(deployment)[:MOST] if number != after.number],
    }
    return render_page(request, "deployments/compare.html", context)


def _text(revision: Revision | None) -> str:
    return as_text(revision.spec, own_server=is_own(revision.spec["image"])) if revision else ""
