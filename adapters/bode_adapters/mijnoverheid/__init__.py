"""MijnOverheid Berichtenbox, through the REST gateway v1.0 (ten messages a call, results later)."""

from bode_adapters.mijnoverheid.box import MijnOverheidBox, MijnOverheidSettings

__all__ = ["MijnOverheidBox", "MijnOverheidSettings"]
