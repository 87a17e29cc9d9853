"""Whether what pages count is right."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from studies import tallies
from studies.models import Clinician, Tally, TallyMark


class Command(BaseCommand):
    """`manage.py check_tallies`."""

    help = "Count everything anew and compare it with the tallies that pages read; wrong ones are counted again."

    def handle(self, *args: Any, **options: Any) -> None:
        n_kept = Tally.objects.count()
        wrong = list(tallies.wrong_tallies())
        if not wrong:
            self.stdout.write(f"All {n_kept} tallies are what a fresh count finds.")
            return
        TallyMark.objects.bulk_create(TallyMark(clinician_id=pk) for pk in {pk for pk, _kind in wrong})
        codes = {one.pk: f"{one.site.code}/{one.code}" for one in Clinician.objects.select_related("site")}
        told = "; ".join(f"{codes[pk]}: {kind}" for pk, kind in wrong[:20])
        raise CommandError(
            f"{len(wrong)} of {n_kept} tallies were wrong: {told}. Pages count these anew from now on. "
            "Something changed rows without the database's triggers: run `manage.py migrate`, which puts them back."
        )
