"""Release the instruments of the catalogue."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from instruments.catalogue.reader import CatalogueError
from instruments.services import ReleaseRefused, release_instrument

CATALOGUE = Path(__file__).resolve().parents[2] / "catalogue"


class Command(BaseCommand):
    """`manage.py load_instruments [FILE …]`."""

    help = "Load catalogue files and freeze them by their content. Loading a released version again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="*", type=Path, help="default: every file of instruments/catalogue/")

    def handle(self, *args: Any, **options: Any) -> None:
        files = options["files"] or sorted(CATALOGUE.glob("*.yaml"))
        for path in files:
            try:
                version, is_new = release_instrument(path, now=timezone.now())
            except OSError as error:
                raise CommandError(f"{path}: cannot be read ({error.strerror}).") from error
            except (CatalogueError, ReleaseRefused) as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{version} {'released' if is_new else 'unchanged'} ({version.content_hash[:12]})")
