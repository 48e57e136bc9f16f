"""The author of a run or a model, as lists show it. The audit trail keeps the token, too."""

from apps.core.access import Principal
from apps.experiments.models import Run


def author(principal: Principal) -> str:
    """The person's name; for a run's token, who launched the run; for a project's, the token's name."""
    if principal.user is not None:
        return principal.user.get_username()
    if principal.token is None:
        return principal.label
    of_run = principal.token.run_uid
    launcher = Run.objects.filter(uid=of_run).values_list("created_by", flat=True).first() if of_run else ""
    return launcher or f"token {principal.token.name}"
