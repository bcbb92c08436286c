"""What a receiver of webhooks needs: the check that one is ours, whole, and of now."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

TOLERANCE = timedelta(minutes=5)
_LONGEST_STAMP = 12
ID, TIMESTAMP, SIGNATURE, KEYS = "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Webhook-Key-Id"


class WebhookError(Exception):
    """A webhook not to be believed; the message says why."""


def sign_webhook(body: bytes, *, event_id: str, at: datetime, secrets: Mapping[str, bytes]) -> dict[str, str]:
    """Give the headers of a webhook, one signature per secret (Standard Webhooks, with the ids of the keys)."""
    stamp = str(int(at.timestamp()))
    signatures = [f"v1,{_signature(secret, event_id, stamp, body)}" for secret in secrets.values()]
    return {ID: event_id, TIMESTAMP: stamp, SIGNATURE: " ".join(signatures), KEYS: " ".join(secrets)}


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Mapping[str, bytes],
    now: datetime | None = None,
    tolerance: timedelta = TOLERANCE,
) -> dict[str, Any]:
    """Give the event of a webhook. Raises `WebhookError` unless one of our secrets signed it, a short while ago.

    Keep the event's `id` for longer than the tolerance, and answer 200 to one seen before without acting on it: that,
    and the time in the signature, make a stolen webhook worthless.
    """
    found = {name.lower(): value for name, value in headers.items()}
    event_id, stamp, signatures = (found.get(name.lower(), "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= _LONGEST_STAMP and event_id):
        raise WebhookError("the webhook has no id or no time")
    given = [word.removeprefix("v1,").encode() for word in signatures.split() if word.startswith("v1,")]
    ours = [_signature(secret, event_id, stamp, body).encode() for secret in secrets.values()]
    if not any(hmac.compare_digest(one, other) for one in given for other in ours):
        raise WebhookError("none of the signatures is of a known secret")
    if abs((now or datetime.now(UTC)).timestamp() - int(stamp)) > tolerance.total_seconds():
        raise WebhookError("the webhook was signed too long ago, or the clocks differ")
    event: dict[str, Any] = json.loads(body)
    if event.get("id") != event_id:
        raise WebhookError("the webhook's id is not its event's")
    return event


def _signature(secret: bytes, event_id: str, stamp: str, body: bytes) -> str:
    signed = f"{event_id}.{stamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, sha256)).decode()
