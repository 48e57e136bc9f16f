"""Every write of core: projects, members, people, tokens."""

from apps.core.services.people import create_person, delete_person, set_password, update_person
from apps.core.services.projects import create_project, delete_project, set_member, update_project
from apps.core.services.tokens import create_token, most_of, revoke_token

__all__ = [
    "create_person",
    "create_project",
    "create_token",
    "delete_person",
    "delete_project",
    "most_of",
    "revoke_token",
    "set_member",
    "set_password",
    "update_person",
    "update_project",
]
