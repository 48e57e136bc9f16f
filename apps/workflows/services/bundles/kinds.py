"""Things of each kind: how one is now, how it becomes what a document says, and how it goes. By the services that pages
and REST call, in the transaction that is open."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from apps.core.access import Principal
from apps.core.errors import Conflict, Invalid
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments import services as deploying
from apps.deployments.models import Target
from apps.experiments import selectors as experiments
from apps.experiments import services as registry
from apps.experiments.models import ModelAlias
from apps.workflows.models import Pipeline, PipelineVersion
from apps.workflows.services.bundles.deployments import Deployments
from apps.workflows.services.bundles.documents import BundleKind, Document
from apps.workflows.services.pipelines import create_version


class Things(Protocol):
    """All things of a kind."""

    def seen(self, project: Project, name: str) -> dict[str, Any] | None:
        """What is wanted of one now; None where there is none."""

    def put(self, principal: Principal, project: Project, document: Document, gone: frozenset[str]) -> None:
        """Let it be as the document says; `gone` are the fields that its bundle had named before. Raises FlotillaError
        where that is refused."""

    def remove(self, principal: Principal, project: Project, name: str) -> str:
        """Take it away; or say why it stays."""


class _Targets:
    def seen(self, project: Project, name: str) -> dict[str, Any] | None:
        row = Target.objects.filter(project=project, name=name).select_related("cluster").first()
        if row is None:
            return None
        place = {"cluster": row.cluster.name, "namespace": row.namespace, "environment": row.environment}
        return {**place, "policy": row.policy, "gateway": row.gateway}

    def put(self, principal: Principal, project: Project, document: Document, gone: frozenset[str]) -> None:
        row = Target.objects.filter(project=project, name=document.name).select_related("project", "cluster").first()
        values = {key: value for key, value in document.values.items() if key != "project"}
        if row is None:
            deploying.create_target(principal=principal, project=project, **values)
            return
        now = {"cluster": row.cluster.name, "namespace": row.namespace, "environment": row.environment}
        for key in sorted(document.named & now.keys()):
            if values[key] != now[key]:
                hint = "What runs there would be left behind: make another target, and move the deployments."
                raise Conflict(f"Its {key} is {now[key]}, and stays that.", field=key, hint=hint)
        allows = {key: values[key] if key in document.named else {} for key in ("policy", "gateway")}
        asked = {key: value for key, value in allows.items() if key in document.named | gone}
        deploying.edit_target(principal=principal, target=row, **asked)

    def remove(self, principal: Principal, project: Project, name: str) -> str:
        row = Target.objects.filter(project=project, name=name).select_related("project").first()
        if row is not None:
            try:
                deploying.delete_target(principal=principal, target=row)
            except Conflict as error:
                return error.message
        return ""


class _Pipelines:
    def seen(self, project: Project, name: str) -> dict[str, Any] | None:
        row = Pipeline.objects.filter(project=project, name=name).first()
        last = PipelineVersion.objects.filter(pipeline=row, number=row.last_version).first() if row else None
        if last is None:
            return None
        by_name = {part: {each["name"]: each for each in last.spec[part]} for part in ("params", "steps")}
        # In a list, else their order would not tell.
        return {**last.spec, **by_name, "order": list(by_name["steps"])}

    def put(self, principal: Principal, project: Project, document: Document, gone: frozenset[str]) -> None:
        try:
            create_version(principal=principal, project=project, data=document.values)
        except Invalid as error:
            # Its lines are of the document alone, and nobody sees that by itself.
            said = re.sub(r"^Line \d+, ", "", error.message)
            raise Invalid(said, hint=error.hint, field=str(error.extensions.get("path") or "")) from error

    def remove(self, principal: Principal, project: Project, name: str) -> str:
        return "Its runs are history, and it stays."


class _Aliases:
    def seen(self, project: Project, name: str) -> dict[str, Any] | None:
        model, _, alias = name.rpartition("/")
        row = ModelAlias.objects.filter(model__project=project, model__name=model, name=alias)
        number = row.values_list("version__version", flat=True).first()
        return None if number is None else {"version": number}

    def put(self, principal: Principal, project: Project, document: Document, gone: frozenset[str]) -> None:
        version = document.values["version"]
        if self.seen(project, document.name) == {"version": version}:
            return
        model = experiments.model(principal, document.values["model"], Role.DEVELOPER, project=project)
        row = experiments.model_version(project, model.name, version)
        registry.set_alias(principal=principal, version=row, alias=document.values["alias"])

    def remove(self, principal: Principal, project: Project, name: str) -> str:
        if self.seen(project, name) is not None:
            model, _, alias = name.rpartition("/")
            row = experiments.model(principal, model, Role.DEVELOPER, project=project)
            registry.delete_alias(principal=principal, model=row, alias=alias)
        return ""


THINGS: Mapping[BundleKind, Things] = {
    BundleKind.TARGET: _Targets(),
    BundleKind.PIPELINE: _Pipelines(),
    BundleKind.ALIAS: _Aliases(),
    BundleKind.DEPLOYMENT: Deployments(),
}
