"""Applying a bundle: all that it says is made so, in one transaction, or none of it.

A rehearsal does the same and takes it back, so what it tells is what would happen. That holds because no service calls
a cluster: a rollout begins as rows, and is brought about by rounds after the commit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import OperationalError, transaction
from psycopg.errors import DeadlockDetected

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import held
from apps.core.errors import Conflict, FlotillaError, Invalid, Unavailable
from apps.core.models import Owned, Project
from apps.core.states import Role
from apps.core.text.names import check_name
from apps.deployments.models import Deployment, Target
from apps.workflows.services.bundles.deployments import Deployments
from apps.workflows.services.bundles.documents import Action, BundleKind, Change, Document, action_of, differences
from apps.workflows.services.bundles.kinds import THINGS

MOST = 100


def apply_bundle(
    *,
    principal: Principal,
    project: Project,
    bundle: str,
    documents: Sequence[Document],
    prune: bool = False,
    take_over: bool = False,
    dry_run: bool = False,
) -> list[Change]:
    """Make all documents so, and let the bundle own them; with `prune`, take away what it owns and names no more.

    The same once more changes nothing. A rehearsal (`dry_run`) tells the same changes and keeps none.

    Needs the developer role; each service asks for what it needs itself. Raises what they raise, naming the document,
    Conflict for what another bundle owns unless it is to be taken over, and Unavailable where others changed the same.
    """
    require_role(principal, project, Role.DEVELOPER)
    check_name(bundle, "bundle")
    _check(documents)
    try:
        with transaction.atomic():
            applying = _Applying(principal, held(project), bundle)
            changes = applying.go(documents, prune=prune, take_over=take_over)
            if dry_run:
                transaction.set_rollback(True)
    except OperationalError as error:
        if not isinstance(error.__cause__, DeadlockDetected):
            raise
        raise Unavailable("Somebody changed the same things at this moment.", hint="Send it again.") from error
    return changes


def _check(documents: Sequence[Document]) -> None:
    if len(documents) > MOST:
        raise Invalid(f"A bundle has at most {MOST} documents.", field="documents", hint="Make several of it.")
    seen: set[tuple[BundleKind, str]] = set()
    for number, each in enumerate(documents):
        if (each.kind, each.name) in seen:
            raise Invalid(f"{each.label} stands twice in the bundle.", field=f"documents[{number}]")
        seen.add((each.kind, each.name))


class _Applying:
    """One bundle of a project that is held: others wait until this one is done."""

    def __init__(self, principal: Principal, project: Project, bundle: str) -> None:
        self.principal, self.project, self.bundle = principal, project, bundle
        self.owned = {(BundleKind(row.kind), row.name): row for row in Owned.objects.filter(project=project)}

    def go(self, documents: Sequence[Document], *, prune: bool, take_over: bool) -> list[Change]:
        named = {(each.kind, each.name) for each in documents}
        left = [key for key, row in self.owned.items() if row.bundle == self.bundle and key not in named]
        left = left if prune else []
        self._hold([name for kind, name in [*named, *left] if kind is BundleKind.DEPLOYMENT])
        order = list(BundleKind)
        numbered = sorted(enumerate(documents), key=lambda each: (order.index(each[1].kind), each[1].name))
        changes = []
        for number, document in numbered:
            with _naming(number, document):
                changes.append(self._put(document, take_over=take_over))
        changes += [self._remove(*key) for key in sorted(left, key=lambda each: -order.index(each[0]))]
        told = {f"{each.kind} {each.name}": str(each.action) for each in changes if each.action is not Action.SAME}
        if told:
            after = {"bundle": self.bundle, "changes": told}
            audit.record(
                principal=self.principal, action="project.apply", obj=self.project, project=self.project, after=after
            )
        return changes

    def _hold(self, deployments: list[str]) -> None:
        """Lock what is there in the order of the services, deployments before targets: else two would wait for each
        other crosswise."""
        rows = Deployment.objects.filter(project=self.project, name__in=deployments).order_by("pk")
        list(rows.select_for_update(of=("self",), no_key=True).values_list("pk"))
        places = Target.objects.filter(project=self.project).order_by("pk")
        list(places.select_for_update(of=("self",), no_key=True).values_list("pk"))

    def _put(self, document: Document, *, take_over: bool) -> Change:
        things, row = THINGS[document.kind], self.owned.get((document.kind, document.name))
        if row is not None and row.bundle != self.bundle and not take_over:
            hint = "Take it out of that bundle first, or take it over."
            raise Conflict(f"The bundle {row.bundle} owns it.", hint=hint)
        before = things.seen(self.project, document.name)
        gone = frozenset(row.named if row is not None else ()) - document.named
        things.put(self.principal, self.project, document, gone)
        after = things.seen(self.project, document.name)
        note = self._own(document, row)
        action = action_of(before, after)
        revision = Deployments().revision(self.project, document.name) if isinstance(things, Deployments) else None
        fields = differences(before, after) if action is not Action.SAME else ()
        return Change(document.kind, document.name, action, fields, note, revision)

    def _own(self, document: Document, row: Owned | None) -> str:
        """Note that the bundle owns it; says what of that is new."""
        named = sorted(document.named)
        if row is not None and (row.bundle, row.named) == (self.bundle, named):
            return ""
        Owned.objects.update_or_create(
            project=self.project,
            kind=document.kind,
            name=document.name,
            defaults={"bundle": self.bundle, "named": named, "applied_by": self.principal.label},
        )
        return f"Taken over from the bundle {row.bundle}." if row is not None and row.bundle != self.bundle else ""

    def _remove(self, kind: BundleKind, name: str) -> Change:
        things = THINGS[kind]
        before = things.seen(self.project, name)
        note = things.remove(self.principal, self.project, name) if before is not None else "It was gone already."
        self.owned[kind, name].delete()
        action = Action.RELEASED if before is None or note else Action.DELETED
        return Change(kind, name, action, (), note)


@contextmanager
def _naming(number: int, document: Document) -> Iterator[None]:
    """Let what a service refuses name the document."""
    try:
        yield
    except FlotillaError as error:
        place = f"documents[{number}]" + (f".{error.field}" if error.field else "")
        said = f"{document.label}: {error.message}"
        raise type(error)(said, hint=error.hint, field=place, extensions=error.extensions) from error
