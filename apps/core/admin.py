"""Administration of people, projects, members and tokens. Everything is written by services; the rest is to look at."""

import copy
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.text import capfirst
from unfold.admin import TabularInline
from unfold.forms import AdminForm, AdminPasswordChangeForm, Fieldline

from apps.core import holdings, services
from apps.core.access import principal_of
from apps.core.errors import FlotillaError, NotAllowed
from apps.core.models import ApiToken, AuditEntry, Membership, Project, Transition, User
from apps.core.pages.adminforms import NewPersonForm, PersonForm
from apps.core.pages.formtext import put_error
from apps.core.pages.panel import PlatformAdmin
from apps.core.states import Role
from apps.core.work.models import Gate, Work

# Unfold does this in its view of a form, which a form without a transaction goes around: the first of a process would
# have Django's own labels.
helpers.AdminForm, helpers.Fieldline = AdminForm, Fieldline  # type: ignore[misc]
# Roles are in projects. Django's own groups and permissions would be a second answer to "who may do what?".
admin.site.unregister(Group)
admin.site.index_title = "Administration"

_BY_NO_SERVICE = "Nobody changes these here."


class ServiceAdmin(PlatformAdmin):
    """Rows that platform administrators write, through services alone.

    A subclass says which: `save_model` and `delete_model` here refuse, because Django's own would write the row without
    a check, an audit row, or anything that follows from it.
    """

    # False where a service asks a cluster, across which no transaction may be open.
    one_transaction = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Platform administrators only."""
        return principal_of(request).is_platform_admin

    has_change_permission = has_add_permission
    has_delete_permission = has_add_permission

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Call the service. Raises NotAllowed where a subclass names none."""
        raise NotAllowed(_BY_NO_SERVICE)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Call the service. Raises NotAllowed where a subclass names none."""
        raise NotAllowed(_BY_NO_SERVICE)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Call the service for each row. Raises NotAllowed where a subclass names none."""
        raise NotAllowed(_BY_NO_SERVICE)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """The same for several, one after the other."""
        for obj in queryset:
            self.delete_model(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form. If the service refuses the values, it comes back as typed, with the error; nothing is written."""
        view = super().changeform_view if self.one_transaction else self._changeform_view
        try:
            answer: HttpResponse = view(request, object_id, form_url, extra_context)
        except FlotillaError as error:
            if request.method != "POST":
                raise
            request._refusal = error  # type: ignore[attr-defined] # read by `get_form`
            for _, files in request.FILES.lists():
                for uploaded in files:
                    uploaded.seek(0)
            answer = view(request, object_id, form_url, extra_context)
        return answer

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form, which does not accept what the service has just refused."""
        form = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "_refusal", None)
        return form if refusal is None else _refusing(form, refusal)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The question, and the service's refusal on the same page."""
        return told(request, lambda: super(ServiceAdmin, self).delete_view(request, object_id, extra_context))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with its action that deletes several."""
        return told(request, lambda: super(ServiceAdmin, self).changelist_view(request, extra_context))


def told(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """The view's answer. When a service refuses the values, the same page comes again with its error sentence."""
    try:
        return view()
    except FlotillaError as error:
        if request.method != "POST":
            raise
        messages.error(request, error.sentence)
        return redirect(request.get_full_path())


def _refusing(form: type[BaseForm], error: FlotillaError) -> type[BaseForm]:
    class Refusing(form):  # type: ignore[misc, valid-type]
        """The form with a service's error in it."""

        def clean(self) -> dict[str, Any] | None:
            """What the form itself checks, and then the error."""
            cleaned: dict[str, Any] | None = super().clean()
            put_error(self, error)
            return cleaned

    return Refusing


@admin.register(User)
class FlotillaUserAdmin(UserAdmin, ServiceAdmin):  # type: ignore[misc]
    """People. Disabling one ends their sessions and tokens at once."""

    form = PersonForm
    add_form = NewPersonForm
    change_password_form = AdminPasswordChangeForm
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_superuser")}),
        ("Known", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    list_display = ("username", "full_name", "email", "may_sign_in", "administers", "last_login")
    list_filter = ("is_active", "is_superuser")
    filter_horizontal = ()

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Add or change through the services."""
        principal, values = principal_of(request), form.cleaned_data
        if change:
            known = {name: values[name] for name in PersonForm.Meta.fields}
            services.update_person(principal=principal, user=User(pk=obj.pk, username=obj.username), **known)
            return
        password = values.get("password1") if values.get("usable_password", "true") in ("true", True) else None
        obj.pk = services.create_person(principal=principal, username=values["username"], password=password).pk
        obj._state.adding = False

    @admin.display(description="Name", ordering="last_name")
    def full_name(self, person: User) -> str | None:
        """First and last name."""
        return person.get_full_name() or None

    @admin.display(description="May sign in", boolean=True, ordering="is_active")
    def may_sign_in(self, person: User) -> bool:
        """Whether the person is not disabled."""
        return person.is_active

    @admin.display(description="Platform administrator", boolean=True, ordering="is_superuser")
    def administers(self, person: User) -> bool:
        """Whether the person is a platform administrator."""
        return person.is_superuser

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The rows that are removed with people. Their tokens are among them: the service removes those."""
        listed, counts, _, protected = super().get_deleted_objects(objs, request)
        return listed, counts, set(), protected

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There is nothing beside the row."""

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Remove through the service."""
        services.delete_person(principal=principal_of(request), user=obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Set another person's password through the service."""

        class Form(AdminPasswordChangeForm):
            """Django's form, which stores nothing itself."""

            def save(self, commit: bool = True) -> User:
                """Set through the service."""
                chosen = self.cleaned_data["password1"] if self.cleaned_data["set_usable_password"] else None
                return services.set_password(principal=principal_of(request), user=self.user, password=chosen)

        # A copy for this request: the panel's own object serves all requests at once.
        mine = copy.copy(self)
        mine.change_password_form = Form
        return told(request, lambda: super(FlotillaUserAdmin, mine).user_change_password(request, id, form_url))


class MembershipInline(TabularInline):
    """Members of a project, on its page."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the page around it."""
        return principal_of(request).is_platform_admin

    has_change_permission = has_add_permission
    has_delete_permission = has_add_permission
    has_view_permission = has_add_permission

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Each says its name: a table's cells have no label."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = capfirst(field.label)
            field.widget.can_add_related = field.widget.can_change_related = field.widget.can_view_related = False
        return field


@admin.register(Project)
class ProjectAdmin(ServiceAdmin):
    """Projects with their members."""

    list_display = ("name", "description", "created_at")
    search_fields = ("name",)
    inlines = (MembershipInline,)
    # Deletion asks for the name of each project, so there is none for several at once.
    actions = None

    fields = ("name", "description")

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        """The name is part of namespaces on clusters, so it stays."""
        return ("name",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        """Make or describe through the services."""
        principal, description = principal_of(request), form.cleaned_data["description"]
        if change:
            services.update_project(principal=principal, project=obj, description=description)
            return
        obj.pk = services.create_project(principal=principal, name=obj.name, description=description).pk
        obj._state.adding = False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Give and take roles through the service."""
        memberships = formset.save(commit=False)
        project: Project = form.instance
        gone = {each.pk: each.user for each in formset.deleted_objects}
        replaced = Membership.objects.filter(pk__in=[each.pk for each in memberships if each.pk]).select_related("user")
        stay = {each.user_id for each in memberships}
        gone |= {each.pk: each.user for each in replaced if each.user_id not in stay}
        for user in gone.values():
            self._set(request, project, user, None)
        for each in memberships:
            self._set(request, project, each.user, Role(each.role))

    def _set(self, request: HttpRequest, project: Project, user: User, role: Role | None) -> None:
        services.set_member(principal=principal_of(request), project=project, username=user.username, role=role)

    def delete_model(self, request: HttpRequest, obj: Project) -> None:
        """Delete through the service."""
        services.delete_project(principal=principal_of(request), project=obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say what there is and what is still alive, ask for the project's name, and delete it through the service.

        Not Django's own page: that one would list every run and every value that it logged.
        """
        if not self.has_delete_permission(request):
            raise PermissionDenied
        project = get_object_or_404(Project, pk=object_id)
        error = ""
        if request.method == "POST":
            if request.POST.get("confirm", "").strip() != project.name:
                error = f"Type {project.name} to delete it."
            else:
                try:
                    self.delete_model(request, project)
                except FlotillaError as refused:
                    error = refused.sentence
                else:
                    messages.success(request, f"Project {project.name} is deleted.")
                    return redirect(reverse("admin:core_project_changelist"))
        held_by_project = holdings.of_project(project.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {project.name}",
            "project": project,
            "holdings": held_by_project,
            "alive": holdings.joined(each for each in held_by_project if each.blocks),
            "error": error,
            "back": reverse("admin:core_project_change", args=[project.pk]),
        }
        return render(request, "core/admin_delete.html", context)


@admin.register(ApiToken)
class ApiTokenAdmin(PlatformAdmin):
    """Tokens, without their digests: they are made on a person's own page or by REST. A leaked one is revoked here."""

    actions = ("revoke",)
    list_display = ("name", "prefix", "user", "project", "role", "expires_at", "revoked_at", "last_used_at")
    search_fields = ("name", "prefix")
    exclude = ("digest",)

    @admin.action(description="Revoke the selected tokens", permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke through the service."""
        for token in queryset:
            services.revoke_token(principal=principal_of(request), pk=token.pk)
        messages.success(request, "They are refused from now on.")


@admin.register(AuditEntry)
class AuditEntryAdmin(PlatformAdmin):
    """The audit trail."""

    list_display = ("at", "actor", "action", "object_name", "project", "source_ip")
    search_fields = ("actor", "object_name", "action")
    list_filter = ("project",)


@admin.register(Transition)
class TransitionAdmin(PlatformAdmin):
    """State changes."""

    list_display = ("at", "object_type", "object_id", "from_state", "to_state", "reason", "actor")
    list_filter = ("object_type",)


@admin.register(Work)
class WorkAdmin(PlatformAdmin):
    """The queue of work: when each object is looked at next, and how often that has failed."""

    list_display = ("kind", "object_id", "cluster", "due_at", "failures", "claimed_at")
    list_filter = ("kind", "cluster")
    ordering = ("due_at",)


@admin.register(Gate)
class GateAdmin(PlatformAdmin):
    """Clusters that are away or slow: until when nothing there is tried, and why."""

    list_display = ("cluster", "reason", "closed_until", "failures", "slow_until")
