"""Tenants, people, tokens, and the two append-only records: transitions and audit."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from apps.core.states import Role
from apps.core.work import models as work  # noqa: F401 - Django finds a model by its import

# RFC 1123 labels, because names become parts of Kubernetes names; 40 leaves room for what we add to them.
# `\Z`, as `$` would also match before a newline at the end.
NAME_PATTERN = r"\A[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?\Z"
validate_name = RegexValidator(
    NAME_PATTERN, "Use at most 40 lower-case letters, digits and '-', with a letter or digit at both ends."
)


class User(AbstractUser):
    """A person. `is_superuser` makes a platform administrator, who may do all in every project."""

    # Raised to end every session of the person at once, wherever it is: a session carries a hash of it.
    sessions_ended = models.PositiveIntegerField(default=0, editable=False)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        hashed: str = super()._get_session_auth_hash(secret=secret)  # type: ignore[misc]
        return f"{hashed}:{self.sessions_ended}" if self.sessions_ended else hashed


class Project(models.Model):
    """A tenant: people, and a namespace on each cluster that it uses."""

    name = models.CharField(max_length=40, unique=True, validators=[validate_name])
    description = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a project."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role], default=Role.VIEWER)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_project")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class ApiToken(models.Model):
    """A bearer token: shown once, stored as a SHA-256 digest.

    It belongs to a person (and may do what the person may, up to `role`) or to a project alone (`user` is null).
    `run_uid` binds it to one run, whose records are all that it may write; `read_only` forbids every write.
    """

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="tokens")
    project = models.ForeignKey(Project, models.CASCADE, null=True, blank=True, related_name="tokens")
    run_uid = models.CharField(max_length=32, blank=True, db_index=True)
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role], default=Role.DEVELOPER)
    read_only = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user__isnull=False) | Q(project__isnull=False), name="token_has_an_owner"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Transition(models.Model):
    """One change of one object's state; written in the transaction that makes the change, never edited."""

    object_type = models.CharField(max_length=60)
    object_id = models.BigIntegerField()
    from_state = models.CharField(max_length=40, blank=True)
    to_state = models.CharField(max_length=40)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    actor = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["object_type", "object_id", "id"], name="transition_of_object")]

    def __str__(self) -> str:
        return f"{self.object_type} {self.object_id}: {self.from_state} → {self.to_state}"


class AuditEntry(models.Model):
    """An entry of the audit trail: actor, action, object, values before and after, address. Never edited."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200)
    user = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    project = models.ForeignKey(Project, models.SET_NULL, null=True, blank=True, related_name="+")
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=60)
    object_name = models.CharField(max_length=250)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    source_ip = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [models.Index(fields=["project", "-id"], name="audit_of_project")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_type} {self.object_name}"


class Owned(models.Model):
    """The claim of a bundle (`POST /api/v1/apply`) on a thing of its project: on its name, be it there or not."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="owned")
    bundle = models.CharField(max_length=40, validators=[validate_name])
    kind = models.CharField(max_length=16)
    name = models.CharField(max_length=600)
    # The fields that it named last: one that it names no more is taken back.
    named = models.JSONField(default=list)
    applied_by = models.CharField(max_length=200, blank=True)
    applied_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "kind", "name"], name="owned_by_one_bundle"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of bundle {self.bundle}"


class IdempotencyRecord(models.Model):
    """The stored answer to a POST that carried an `Idempotency-Key`."""

    owner = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "key"], name="one_answer_per_key")]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"
