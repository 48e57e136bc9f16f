"""Forms of people in the admin panel."""

from typing import Any, ClassVar

from unfold.forms import UserChangeForm, UserCreationForm


class PersonForm(UserChangeForm):
    """A person. The service decides what may be changed and what follows."""

    class Meta(UserChangeForm.Meta):
        fields: ClassVar = ["username", "first_name", "last_name", "email", "is_active", "is_superuser"]
        labels: ClassVar = {"is_active": "May sign in", "is_superuser": "Platform administrator"}
        help_texts: ClassVar = {
            "is_active": "Switched off, sessions and tokens end at once, and for good.",
            "is_superuser": "May do all in every project, and administers clusters, people and prices here.",
        }


class NewPersonForm(UserCreationForm):
    """A new person: a name, and a password or none yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say what is true here: Django's own text speaks of other ways to sign in."""
        super().__init__(*args, **kwargs)
        choice = self.fields["usable_password"]
        choice.label = "Password"
        choice.help_text = "Without one nobody can sign in under this name until a password is set here."
        choice.widget.choices = [("true", "Set it now"), ("false", "None yet")]
        self.fields["password1"].label = "New password"
        self.fields["password1"].help_text = "At least 12 characters; no common one, and not like the name."
        self.fields["password2"].label = "New password again"
        self.fields["password2"].help_text = ""
