"""`manage.py import_mlflow <uri>`: brings what an MLflow server has into a project."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.access import Principal
from apps.core.errors import FlotillaError
from apps.core.models import Project, User
from apps.experiments.services.importing import importer
from apps.experiments.services.importing.reading import Source
from apps.experiments.services.importing.reporting import Report
from apps.experiments.services.importing.server import Access, Server

# So many differences are written out unless all are asked for.
NAMED = 50


class Command(BaseCommand):
    """May be killed at any moment and run again: it goes on where it was."""

    help = (
        "Bring the experiments, runs, metrics, datasets, models and files of an MLflow server into a project. Run it "
        "again to go on, or to fetch what is new. The token is read from FLOTILLA_IMPORT_TOKEN or --token-file, a "
        "name and a password from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. Ends with 1 where something "
        "differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """No argument is a secret: every list of processes shows them."""
        parser.add_argument("uri", help="the server, such as https://mlflow.example.com:5000")
        parser.add_argument("--project", required=True, help="where to bring it")
        parser.add_argument("--as", dest="person", required=True, help="an admin of the project, whom the trail names")
        parser.add_argument("--token-file", default="", help="a file with the token for that server")
        parser.add_argument("--workspace", default="", help="which workspace of that server, where it has several")
        parser.add_argument("--dry-run", action="store_true", help="count what there is, and bring nothing")
        parser.add_argument("--threads", type=int, default=4, help="runs that are brought at once (4)")
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds that a silence may last (60)")
        parser.add_argument("--all-differences", action="store_true", help=f"name more than {NAMED} that differ")

    def handle(self, *args: Any, **options: Any) -> None:
        """Bring, and say what was brought and what differs."""
        if options["threads"] < 1 or options["timeout"] <= 0:
            raise CommandError("--threads is 1 or more, and --timeout more than 0.")
        try:
            access = Access(_token(options["token_file"]), *_basic(), workspace=options["workspace"])
            server = Server(options["uri"], access, seconds=options["timeout"], threads=options["threads"])
            if options["dry_run"]:
                importer.plan(Source(server), self.stdout.write)
                return
            report = importer.bring(Source(server), *_where(options), threads=options["threads"], say=self.stdout.write)
        except FlotillaError as error:
            raise CommandError(error.sentence) from error
        self._tell(report, None if options["all_differences"] else NAMED)

    def _tell(self, report: Report, most: int | None) -> None:
        for name, (there, here) in report.counts.items():
            self.stdout.write(f"{name:>18}: {there:>12,} there, {here:>12,} here")
        for remark in report.remarks:
            self.stdout.write(remark)
        for difference in report.differences[:most]:
            self.stdout.write(f"- {difference}")
        if report.differences:
            raise CommandError(f"{len(report.differences):,} differences: see above. All the rest is here.")
        self.stdout.write(self.style.SUCCESS("Everything is here, and nothing differs."))


def _where(options: dict[str, Any]) -> tuple[Project, Principal]:
    project = Project.objects.filter(name=options["project"]).first()
    if project is None:
        raise CommandError(f"There is no project {options['project']!r}. Make it in the admin panel.")
    person = User.objects.filter(username=options["person"], is_active=True).first()
    if person is None:
        raise CommandError(f"There is no person {options['person']!r} who may sign in.")
    return project, Principal(user=person)


def _token(file: str) -> str:
    if not file:
        return os.environ.get("FLOTILLA_IMPORT_TOKEN", "").strip()
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The token can't be read from {file}: {error}.") from error


def _basic() -> tuple[str, str]:
    return os.environ.get("MLFLOW_TRACKING_USERNAME", ""), os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
