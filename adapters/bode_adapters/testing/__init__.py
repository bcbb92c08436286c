"""The suites that adapters pass: `BoxSuite`, `NotifierSuite`, `PrintServiceSuite`. Subclass one in your own tests."""

import pytest

pytest.register_assert_rewrite(
    "bode_adapters.testing.box", "bode_adapters.testing.notifier", "bode_adapters.testing.print_service"
)
