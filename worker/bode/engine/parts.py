"""What the engine works with; the composition root fills it with real or with in-memory parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from bode.clock import Clock
from bode.compose.letter import LetterComposer
from bode.compose.notice import NoticeComposer
from bode.compose.paper import Paper
from bode.domain.bounces import RuleBook
from bode.domain.lane_rules import LaneRules
from bode.domain.policy import Policy
from bode.domain.volume import VolumeLimits
from bode.engine.journal import Journal
from bode.engine.mail_health import MailHealth
from bode.engine.profile_guard import ProfileLimits
from bode.engine.return_path import ReturnPath
from bode.store.database import Database
from bode.store.documents import Elsewhere
from bode.store.vault import Vault
from bode.tracing import Trace
from bode_adapters.contract import Box, Notifier, PrintService, ProfileService


@dataclass(frozen=True, slots=True)
class Organisation:
    """An administrative body that sends (bestuursorgaan), as letters, notices and boxes need it."""

    oin: str
    name: str
    email: str
    contact: str
    address: tuple[str, ...]
    box_types: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a lane needs."""

    database: Database
    vault: Vault
    policy: Policy
    clock: Clock
    boxes: Mapping[str, Box]
    notifier: Notifier
    printer: PrintService
    notice_composer: NoticeComposer
    letter_composer: LetterComposer
    rules: RuleBook
    return_path: ReturnPath
    health: MailHealth
    organisations: Mapping[str, Organisation]
    box_urls: Mapping[str, str]
    profile: ProfileService | None = None
    profile_limits: ProfileLimits = field(default_factory=ProfileLimits)
    paper: Paper = field(default_factory=Paper)
    chunk: int = 100
    lane_concurrency: int = 2
    lane_rules: Mapping[str, LaneRules] = field(default_factory=dict[str, LaneRules])
    """What the configuration says of lanes, by name; others have the defaults, and `lane_concurrency`."""
    hold_seconds: float = 120.0
    """The longest that a chunk may be in hand, whatever it waits for."""
    heartbeat_seconds: float = 4.0
    """How often the leases of a chunk in hand are renewed."""
    journal: Journal | None = None
    """Kept around calls, where there is a folder for it: a worker that dies then leaves less in doubt."""
    limits_of: Mapping[str, VolumeLimits] = field(default_factory=dict[str, VolumeLimits])
    """How much organisations may send before a person looks; others as much as they like."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    """Where large documents are kept; unless said, in the database."""
    trace: Trace | None = None
    """Takes traces, where they are asked for."""
    new_id: Callable[[], UUID] = uuid4
    """Makes the ids of calls; a simulation's are the same for the same seed."""

    @property
    def lease_seconds(self) -> float:
        """How long a chunk is a worker's without a word of it: two heartbeats may be missed, the third may not."""
        return min(3 * self.heartbeat_seconds, self.hold_seconds)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The names of all lanes: one per channel, the notices, print, and the profile service where there is one."""
        own = (self.policy.notice_lane, self.policy.print_lane)
        return (*self.boxes, *own, *((self.policy.profile_lane,) if self.profile is not None else ()))

    def in_hand(self, lane: str) -> int:
        """Give how many steps of this lane a worker takes at a time.

        Where an unknown outcome can only be shown to a person, no more than are sent side by side: a worker that dies
        leaves as many in doubt as it had connections, and not a chunk.
        """
        if lane not in self.boxes:
            return self.chunk
        able = self.boxes[lane].capabilities
        if able.repeat_is_recognised or able.can_lookup or able.at_once is None:
            return self.chunk
        return min(self.chunk, max(1, able.at_once // self.lane_concurrency))

    def bulk(self, lane: str) -> int:
        """Give how many items one call in this lane may hold."""
        return self.adapter(lane).capabilities.bulk

    def adapter(self, lane: str) -> Box | Notifier | PrintService | ProfileService:
        """Give the adapter that makes the calls of a lane."""
        if lane in self.boxes:
            return self.boxes[lane]
        if lane == self.policy.profile_lane and self.profile is not None:
            return self.profile
        return self.printer if lane == self.policy.print_lane else self.notifier
