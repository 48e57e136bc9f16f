"""Administration of people, projects, members and tokens. Audit and transitions are read-only."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.core.models import ApiToken, AuditEntry, Membership, Project, Transition, User

admin.site.unregister(Group)


@admin.register(Group)
class FlotillaGroupAdmin(GroupAdmin, ModelAdmin):
    """Django's groups, in our theme."""


class MembershipInline(TabularInline):
    """Members of a project, on its page."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(User)
class FlotillaUserAdmin(UserAdmin, ModelAdmin):
    """People. Disabling one kills their tokens at once, because a token asks for its person each time."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    """Projects with their members."""

    list_display = ("name", "description", "created_at")
    search_fields = ("name",)
    inlines = (MembershipInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        """The name is part of namespaces on clusters, so it stays."""
        return ("name",) if obj else ()


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes rows by hand."""
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens, without their digests: they are made and revoked on a person's own page or by REST."""

    list_display = ("name", "prefix", "user", "project", "role", "expires_at", "revoked_at", "last_used_at")
    search_fields = ("name", "prefix")
    exclude = ("digest",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("at", "actor", "action", "object_name", "project", "source_ip")
    search_fields = ("actor", "object_name", "action")
    list_filter = ("project",)


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    """State changes."""

    list_display = ("at", "object_type", "object_id", "from_state", "to_state", "reason", "actor")
    list_filter = ("object_type",)
