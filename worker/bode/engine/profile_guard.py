"""Notices when a profile service suddenly knows nobody: a wrong base path looks as if no one wants mail."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from bode_adapters.contract import NoProfile, Profile, ProfileAnswer, RefusalKind, Refused

log = structlog.get_logger()

ASKED = Counter("bode_profile_answers_total", "Answers of the profile service, by what they say.", ["answer"])


@dataclass(frozen=True, slots=True)
class ProfileLimits:
    """When it is too much: of the last `missing_least` answers this share knew nobody."""

    missing_share: float = 0.95
    missing_least: int = 50


class ProfileGuard:
    """Weighs the answers of one process; it remembers no more than the last few, and none of whom."""

    def __init__(self, limits: ProfileLimits) -> None:
        """Start with nothing seen."""
        self._limits = limits
        self._missing: deque[bool] = deque(maxlen=limits.missing_least)

    def weigh(self, answers: Sequence[ProfileAnswer]) -> list[ProfileAnswer]:
        """Give the answers to act on: in a jump, those that know nobody come back as a fault of our settings.

        Then the lane stops, and the addressees are asked again when a person starts it: nobody gets a letter for it.
        """
        for answer in answers:
            ASKED.labels(_word(answer)).inc()
            if isinstance(answer, Refused):
                log.error("profile.refused", code=answer.code, kind=answer.kind)
            if isinstance(answer, NoProfile) or (isinstance(answer, Profile) and not answer.cached):
                self._missing.append(isinstance(answer, NoProfile))
        if not self._jumps():
            return list(answers)
        self._missing.clear()
        log.error("profile.missing_jump", least=self._limits.missing_least, share=self._limits.missing_share)
        jump = Refused("missing_jump", RefusalKind.CONFIGURATION, "the profile service suddenly knows nobody")
        return [jump if isinstance(answer, NoProfile) else answer for answer in answers]

    def _jumps(self) -> bool:
        least = self._limits.missing_least
        return len(self._missing) == least and sum(self._missing) >= self._limits.missing_share * least


def _word(answer: ProfileAnswer) -> str:
    if isinstance(answer, Profile):
        return "cached" if answer.cached else "found"
    return "missing" if isinstance(answer, NoProfile) else "failed"
