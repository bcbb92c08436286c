"""MijnOverheid Berichtenbox: over Digikoppeling ebMS through an ebMS adapter, or through a REST gateway."""

from bode_adapters.mijnoverheid.box import MijnOverheidBox
from bode_adapters.mijnoverheid.settings import MijnOverheidSettings

__all__ = ["MijnOverheidBox", "MijnOverheidSettings"]
