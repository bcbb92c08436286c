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
from bode.domain.policy import Policy
from bode.engine.mail_health import MailHealth
from bode.engine.profile_guard import ProfileLimits
from bode.engine.return_path import ReturnPath
from bode.store.database import Database
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
    lease_seconds: float = 120.0
    trace: Trace | None = None
    """Takes traces, where they are asked for."""
    new_id: Callable[[], UUID] = uuid4
    """Makes the ids of calls; a simulation's are the same for the same seed."""

    @property
    def lanes(self) -> tuple[str, ...]:
        """The names of all lanes: one per channel, the notices, print, and the profile service where there is one."""
        own = (self.policy.notice_lane, self.policy.print_lane)
        return (*self.boxes, *own, *((self.policy.profile_lane,) if self.profile is not None else ()))

    def bulk(self, lane: str) -> int:
        """Give how many items one call in this lane may hold."""
        if lane in self.boxes:
            return self.boxes[lane].capabilities.bulk
        if lane == self.policy.profile_lane and self.profile is not None:
            return self.profile.capabilities.bulk
        return (self.printer if lane == self.policy.print_lane else self.notifier).capabilities.bulk
