"""Adapters: one folder per outside system, all behind `bode_adapters.contract`."""
