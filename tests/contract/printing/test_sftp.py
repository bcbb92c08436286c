"""Letters over SFTP: whole or not at all, on the server that is in the settings and on no other."""

from __future__ import annotations

import pytest

from bode_adapters.testing.print_service import PrintServiceSuite


class TestPrintSftp(PrintServiceSuite):
    @pytest.fixture
    def stage(self, drop):
        return drop
