"""What can be done to a run: every failpoint in every way, and what befalls the parts around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bode.failpoints import Act, Point


class Befalls(StrEnum):
    """What befalls the broker, the database, the mail server or a box, for a while."""

    FLUSHALL = "redis: FLUSHALL"
    REDIS_STOPPED = "redis: stopped for an hour"
    POSTGRESQL_STOPPED = "postgresql: immediate stop"
    TARPIT = "smtp: tarpit"
    DROP_AFTER_DOT = "smtp: dropped after the dot"
    BOX_SILENT = "box: time-out after accepting"
    PAUSED = "worker: SIGSTOP past its lease"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, in one run."""

    name: str
    armed: str = ""
    """What a process of the run is armed with (`BODE_FAILPOINTS`)."""
    act: Act | None = None
    befalls: Befalls | None = None


def _at(point: Point, act: Act) -> Fault:
    # What many pass at once strikes less often, so that a run gets somewhere before it and after.
    chance = 1 if point.startswith(("take_over", "inbound")) else 0.2
    return Fault(f"{point}: {act}", f"{point}={act}:{chance}", act)


FAULTS = (
    *(_at(point, act) for point in Point for act in Act),
    *(Fault(str(what), befalls=what) for what in Befalls),
)
