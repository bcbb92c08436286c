"""A policy for the tests of the timeline and the pages. All organisations and people are invented."""

from datetime import date

import pytest

from bode.domain.message import Confidentiality
from bode.domain.policy import Channel, ChannelKind, Policy

HOLIDAYS = frozenset({date(2026, 12, 25), date(2026, 12, 26), date(2027, 1, 1), date(2027, 1, 5)})
"""The last is none: it makes a term of six weeks from 24 November 2026 end on a holiday."""


@pytest.fixture
def policy() -> Policy:
    channels = (
        Channel("mijnoverheid", ChannelKind.BOX, "Berichtenbox van MijnOverheid", Confidentiality.HOOG, primary=True),
        Channel("mijndomein", ChannelKind.BOX, "Mijn Gemeente", Confidentiality.SUBSTANTIEEL, can_lookup=True),
        Channel("email", ChannelKind.EMAIL, "e-mail", Confidentiality.LAAG),
    )
    return Policy({channel.name: channel for channel in channels}, is_holiday=lambda day: day in HOLIDAYS)
