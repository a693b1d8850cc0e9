"""Everything that is sent: one name for each collection, whichever module its entries were written in."""

from __future__ import annotations

from tests.hostile import bodies, wire
from tests.hostile.archives import BAD
from tests.hostile.pictures import BAD_PICTURES, ODD_PICTURES, VIEWS
from tests.hostile.requests import REQUESTS
from tests.hostile.sound import SOUND

__all__ = ["BAD", "BAD_PICTURES", "ODD_PICTURES", "REQUESTS", "SOUND", "VIEWS"]

# They write into REQUESTS when they are imported.
assert bodies.TASKS
assert wire.GET
