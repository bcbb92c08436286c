"""ZGW: the registers of a zaaksysteem (Besluiten, Zaken, Documenten and Notificaties API), as Open Zaak speaks them."""

from bode_adapters.zgw.registers import RegisterAwayError, RegisterRefusedError, Registers

__all__ = ["RegisterAwayError", "RegisterRefusedError", "Registers"]
