"""Signs of life of what works in the background: one row a part of the installation, written over each time."""

from datetime import datetime

from studies.models import Heartbeat


def beat(name: str, *, now: datetime) -> None:
    """This part lives, or has just done its work."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": now})


def last_beats() -> dict[str, datetime]:
    """When each part was last heard of."""
    return dict(Heartbeat.objects.values_list("name", "at"))
