"""The author of a run or a model, as lists show it. The audit trail keeps the token, too."""

from apps.core.access import Principal


def author(principal: Principal) -> str:
    """The person's name; for a token that belongs to no person, the token."""
    return principal.user.get_username() if principal.user else principal.label
