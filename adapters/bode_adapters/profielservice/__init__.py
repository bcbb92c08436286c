"""The MijnOverheid Zakelijk profile service (profiel-service API 1.0.0): consent for a box, and a verified address."""

from bode_adapters.profielservice.service import Profielservice, ProfielserviceSettings

__all__ = ["Profielservice", "ProfielserviceSettings"]
