"""Mail servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bode_adapters.email.mock import MockMailServer

from .authority import Authority
from .parts import PLAIN


@pytest.fixture
async def server() -> AsyncIterator[MockMailServer]:
    """A relay that offers all there is."""
    async with MockMailServer(slow_seconds=30) as running:
        yield running


@pytest.fixture(params=["pipelining", "step by step"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[MockMailServer]:
    """A relay that reads ahead, and one that does not: what is answered must be the same."""
    extensions = ("PIPELINING", *PLAIN) if request.param == "pipelining" else PLAIN
    async with MockMailServer(slow_seconds=30, extensions=extensions) as running:
        yield running
        assert running.improper == 0


@pytest.fixture
async def bounces() -> AsyncIterator[MockMailServer]:
    """Listens as Bode does for bounces."""
    async with MockMailServer() as listener:
        yield listener


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)
