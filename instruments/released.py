"""Released instrument definitions, kept in memory: reading one takes far longer than serving a page."""

from collections.abc import Callable

from instruments.catalogue.reader import parse_instrument
from instruments.definitions import Instrument

_INSTRUMENTS: dict[str, Instrument] = {}


def released_instrument(content_hash: str, load_content: Callable[[], str]) -> Instrument:
    """The instrument with this content hash; its text is loaded and parsed once per process."""
    if content_hash not in _INSTRUMENTS:
        _INSTRUMENTS[content_hash] = parse_instrument(load_content(), source="released instrument version")
    return _INSTRUMENTS[content_hash]
