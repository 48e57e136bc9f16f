"""`manage.py rotate_credentials_key`: re-encrypts every stored credential with the newest key."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.secrets import rotation
from apps.core.secrets.rotation import Outcome


class Command(BaseCommand):
    """Re-encrypts while everything runs. May be killed and repeated at any time."""

    help = (
        "Re-encrypt every stored credential with the first of FLOTILLA_CREDENTIALS_KEYS, while the system runs. "
        "All processes must know that key already. Ends with 1 while an old key is still needed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """`--dry-run` only counts; `--batch` bounds how many rows are read at once."""
        parser.add_argument("--dry-run", action="store_true", help="count what would be re-encrypted, change nothing")
        parser.add_argument("--batch", type=int, default=100, help="rows that are read at once (100)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say of each column what was done."""
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        outcomes = []
        for outcome in rotation.rotate_all(batch=options["batch"], dry_run=options["dry_run"]):
            self.stdout.write(_said(outcome, options["dry_run"]))
            outcomes.append(outcome)
        if all(outcome.complete for outcome in outcomes):
            old = len(settings.CREDENTIALS_KEYS) - 1
            keys = f" The {old} older key{'' if old == 1 else 's'} may be dropped." if old else ""
            self.stdout.write(self.style.SUCCESS(f"Everything is encrypted with the newest key.{keys}"))
        elif not options["dry_run"]:
            raise CommandError("Keep the old keys: not everything has the newest one. Mend what is named above.")


def _said(outcome: Outcome, dry_run: bool) -> str:
    done = f"{outcome.left} to re-encrypt" if dry_run else f"{outcome.rotated} re-encrypted"
    lines = [f"{outcome.column}: {done}, {outcome.current} with the newest key"]
    if outcome.left and not dry_run:
        lines.append(f"  {outcome.left} keep coming under an old key: restart the process that lacks the newest one")
    if outcome.unreadable:
        shown = ", ".join(outcome.unreadable[:10]) + (" …" if outcome.unreadable[10:] else "")
        lines.append(f"  {len(outcome.unreadable)} that no key decrypts, give their credentials anew: {shown}")
    return "\n".join(lines)
