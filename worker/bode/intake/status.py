"""What has become of a message, in the API's words: no personal data, times in UTC."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from bode.domain.parts import Delivery, DeliveryState
from bode.domain.policy import Policy
from bode.evidence.envelope import timestamp
from bode.store import messages
from bode.store.changes import Change
from bode.store.database import Database
from bode.store.messages import Known
from bode.store.record import read_deliveries

STATES: dict[DeliveryState, str] = {
    DeliveryState.SCHEDULED: "ingepland",
    DeliveryState.UNDER_WAY: "onderweg",
    DeliveryState.NEEDS_PERSON: "wacht_op_medewerker",
    DeliveryState.DONE: "afgerond",
    DeliveryState.CANCELLED: "geannuleerd",
}


class StatusReader:
    """Reads the state of messages."""

    def __init__(self, database: Database, policy: Policy) -> None:
        """Take the database and the policy (which channel is primary decides the legal time)."""
        self._database = database
        self._policy = policy

    async def read(self, message_id: UUID) -> tuple[Known, Delivery, list[Known]] | None:
        """Give a message, its delivery and the later messages about it; nothing for an unknown id."""
        async with self._database.read() as connection:
            known = await messages.get(connection, message_id)
            if known is None:
                return None
            delivery = (await read_deliveries(connection, [message_id]))[message_id]
            later = await messages.concerning(connection, message_id)
        return known, delivery, later

    async def search(
        self,
        *,
        organisations: Collection[str] | None,
        reference: str | None,
        case: str | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> tuple[list[dict[str, Any]], tuple[datetime, UUID] | None]:
        """Give messages as the API lists them, the latest first, and where the next page starts where there is one."""
        async with self._database.read() as connection:
            found = await messages.search(
                connection, organisations=organisations, reference=reference, case=case, after=after, limit=limit + 1
            )
        listed = [
            {
                "id": str(item.known.id),
                "afzender": item.known.organisation,
                "kenmerk": item.known.reference,
                "zaak": item.known.case_reference,
                "aard": item.known.nature,
                "status": STATES[DeliveryState(item.state)],
                "uitkomst": item.outcome,
                "aangenomenTijdstip": timestamp(item.known.accepted_at),
            }
            for item in found[:limit]
        ]
        last = found[limit - 1].known if len(found) > limit else None
        return listed, (last.accepted_at, last.id) if last is not None else None

    def describe(self, known: Known, delivery: Delivery, later: list[Known]) -> dict[str, Any]:
        """Give the status as the API answers it."""
        legal = delivery.legal_time(self._policy.primary_channels())
        return {
            "id": str(known.id),
            "afzender": known.organisation,
            "kenmerk": known.reference,
            "aard": known.nature,
            "status": STATES[delivery.state],
            "uitkomst": str(delivery.outcome),
            "aangenomenTijdstip": timestamp(known.accepted_at),
            "publicatieTijdstip": timestamp(known.publish_at) if known.publish_at else None,
            "verzending": {
                "verzondenTijdstip": timestamp(legal.at),
                "kanaal": legal.channel,
                "regel": legal.rule,
                "bron": str(legal.source),
                "geldig": legal.standing,
            }
            if legal is not None
            else None,
            "plaatsingen": [
                {
                    "kanaal": placement.channel,
                    "status": str(placement.state),
                    "geplaatstTijdstip": timestamp(placement.placed_at) if placement.placed_at else None,
                    "code": placement.code,
                    "kennisgeving": {
                        "status": str(placement.notice.state),
                        "uiterlijkTijdstip": timestamp(placement.notice.deadline_at),
                        "verzondenTijdstip": timestamp(placement.notice.sent_at) if placement.notice.sent_at else None,
                        "pogingen": placement.notice.attempts,
                    }
                    if placement.notice is not None
                    else None,
                }
                for placement in delivery.placements
            ],
            "brieven": [
                {
                    "nummer": number,
                    "soort": str(letter.kind),
                    "reden": str(letter.reason),
                    "status": str(letter.state),
                    "gepostTijdstip": timestamp(letter.posted_at) if letter.posted_at else None,
                }
                for number, letter in enumerate(delivery.letters)
            ],
            "aandacht": [
                {"onderdeel": item.part, "reden": str(item.reason), "sindsTijdstip": timestamp(item.since)}
                for item in delivery.attention
            ],
            "vervangenDoor": [{"id": str(item.id), "kenmerk": item.reference, "aard": item.nature} for item in later],
        }


def describe_change(change: Change) -> dict[str, Any]:
    """Give a change as the feed and the webhooks tell it: no personal data, times in UTC."""
    return {
        "berichtId": str(change.message_id),
        "afzender": change.organisation,
        "kenmerk": change.reference,
        "soort": str(change.kind),
        "status": STATES[change.state],
        "uitkomst": change.outcome,
        "redenen": list(change.reasons),
        "verzondenTijdstip": timestamp(change.sent_at) if change.sent_at is not None else None,
        "tijdstip": timestamp(change.at),
    }
