"""Letters over a REST API: every word of the contract has its meaning, and a letter is taken once."""

from __future__ import annotations

import pytest

from bode_adapters.testing.print_service import PrintServiceSuite


class TestPrintRest(PrintServiceSuite):
    @pytest.fixture
    def stage(self, api):
        return api
