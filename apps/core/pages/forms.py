"""Forms of core."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.db.models import QuerySet

from apps.core.access import client_ip
from apps.core.limits import LIMITS, LOGIN, login_key
from apps.core.models import Project
from apps.core.states import Role


class LoginForm(AuthenticationForm):
    """Name and password. After some wrong ones for a name from an address, no more are tried for a while."""

    # Seconds until the next try, where there were too many.
    wait = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say what was wrong in our own words."""
        super().__init__(*args, **kwargs)
        wrong = "Name and password do not match. Both tell capital letters from small ones."
        self.error_messages = {**self.error_messages, "invalid_login": wrong}

    def clean(self) -> dict[str, Any]:
        """Count the try before the password is looked at, so that many at once gain nothing."""
        name = str(self.cleaned_data.get("username") or "")
        key = login_key(name, client_ip(self.request) if self.request else None)
        self.wait = LIMITS.take(key, LOGIN)
        if self.wait:
            minutes = max(1, round(self.wait / 60))
            raise forms.ValidationError(
                f"Too many tries for this name from your address. Try again in {minutes} "
                f"minute{'' if minutes == 1 else 's'}.",
                code="locked",
            )
        cleaned = super().clean()
        LIMITS.give_back(key)
        return cleaned


class OwnPasswordForm(PasswordChangeForm):
    """Another password of one's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say in a line what Django's list of rules says."""
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text = "At least 12 characters; no common one, and not like your name."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""


class TokenForm(forms.Form):
    """A new API token of one's own."""

    name = forms.CharField(max_length=100, help_text="What will use it: a notebook, a CI job.")
    project = forms.ModelChoiceField(
        queryset=Project.objects.none(),
        required=False,
        empty_label="All of my projects",
        to_field_name="name",
        help_text="Limit it to one project where you can.",
    )
    role = forms.TypedChoiceField(
        coerce=Role,
        help_text="It never may do more than you.",
    )
    days = forms.ChoiceField(
        label="Expires",
        choices=[("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("", "never")],
        initial="90",
        required=False,
    )
    read_only = forms.BooleanField(label="May only read", required=False)

    def __init__(self, *args: Any, projects: QuerySet[Project], most: Role, **kwargs: Any) -> None:
        """Offer the caller's `projects`, and no role above `most`."""
        super().__init__(*args, **kwargs)
        roles = self.fields["role"]
        assert isinstance(roles, forms.TypedChoiceField)  # noqa: S101 - tells mypy what it is
        roles.choices = [(role.value, role.value) for role in Role if most.allows(role)]
        roles.initial = Role.DEVELOPER if most.allows(Role.DEVELOPER) else most
        field = self.fields["project"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - tells mypy what it is
        field.queryset = projects
