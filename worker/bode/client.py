"""For applications that work with Bode: hand messages in, ask what became of them, check the webhooks it sends.

Needs httpx and tenacity, and nothing else of Bode.
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from itertools import islice
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential
from tenacity.wait import wait_base

TOLERANCE = timedelta(minutes=5)
_LONGEST_STAMP = 12
_CHUNK, _LINES = 500, "application/x-ndjson"
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_AGAIN = _LATER | {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.INTERNAL_SERVER_ERROR}
"""What a row may have been answered that it is sent again for."""
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


class ProblemError(Exception):
    """What Bode refused: its status, title and every fault, as the API gives them (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        """Keep the parts as attributes."""
        super().__init__(f"Bode answered {status}: {problem.get('title', 'geen uitleg')}")
        self.status = status
        self.problem = problem

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Every fault: where (a JSON pointer), a code, and what to do."""
        found: list[dict[str, Any]] = self.problem.get("errors", [])
        return found


class _TryAgainError(Exception):
    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(str(answer.status_code))
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Aangenomen:
    """An accepted message: its id, and when it was accepted (RFC 3339, UTC)."""

    id: UUID
    afzender: str
    kenmerk: str
    tijdstip: str


@dataclass(frozen=True, slots=True)
class Statuswijziging:
    """A change in the feed. `cursor`: pass it as `na` to go on after the page this stands in."""

    id: UUID
    bericht_id: UUID
    kenmerk: str
    soort: str
    status: str
    uitkomst: str
    redenen: tuple[str, ...]
    tijdstip: str
    cursor: str


@dataclass(frozen=True, slots=True)
class Rij:
    """The answer to one of many messages: `bericht` where it was accepted, else what is wrong with it."""

    nummer: int
    """From 1, in the order in which they were given."""
    status: int
    bericht: Aangenomen | None
    titel: str
    fouten: list[dict[str, Any]]


class Bode:
    """Bode's API for one application. Use as a context manager, or `close` it.

    What fails on the way (no connection, 429, 503) is tried again for `patience` seconds, with the same body and the
    same `Idempotency-Key`. That is safe: the same again has the same answer. Redirects are refused: they would take
    the key elsewhere.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 30,
        patience: float = 120,
        wait: wait_base | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        """Take the address (without `/v1`) and the API key. `timeout`: the longest silence, in seconds."""
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout, verify=verify
        )
        backoff = wait or wait_random_exponential(multiplier=0.5, max=30)
        self._retrying = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, _TryAgainError)),
            wait=lambda state: max(backoff(state), _asked_wait(state)),
            stop=stop_after_delay(patience),
            reraise=True,
        )

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def aanleveren(self, bericht: Mapping[str, Any] | bytes) -> Aangenomen:
        """Hand a message in. Raises `ProblemError` when it is refused, `httpx.TransportError` when Bode stays away."""
        body = bericht if isinstance(bericht, bytes) else json.dumps(bericht).encode()
        return _accepted(self._call("POST", "/v1/berichten", content=body))

    def aanleveren_veel(self, berichten: Iterable[Mapping[str, Any] | bytes]) -> Iterator[Rij]:
        """Hand many messages in, some hundreds in a request, and give the answer of each, in their order.

        A row that could not be answered for now is sent again. Raises `ProblemError` when the whole is refused.
        """
        rows = (row.strip() if isinstance(row, bytes) else json.dumps(row).encode() for row in berichten)
        first = 1
        while chunk := list(islice(rows, _CHUNK)):
            yield from self._rows(first, chunk)
            first += len(chunk)

    def _rows(self, first: int, chunk: list[bytes]) -> list[Rij]:
        told: dict[int, Rij] = {}

        def once() -> None:
            left: list[int] = [at for at in range(len(chunk)) if at not in told or told[at].status in _AGAIN]
            content = b"".join(chunk[index] + b"\n" for index in left)
            answer = self._http.post("/v1/berichten/bulk", content=content, headers={"Content-Type": _LINES})
            if not answer.is_success:
                raise _TryAgainError(answer) if answer.status_code in _AGAIN else _problem(answer)
            for line in answer.text.splitlines():
                found: dict[str, Any] = json.loads(line)
                place: int = found["rij"]
                index = left[min(place, len(left)) - 1]
                accepted = _accepted(found) if "id" in found else None
                told[index] = Rij(
                    first + index, found["status"], accepted, found.get("title", ""), found.get("errors", [])
                )
            if any(at not in told or told[at].status in _AGAIN for at in left):
                raise _TryAgainError(answer)

        try:
            self._retrying(once)
        except _TryAgainError as error:
            if not error.answer.is_success:
                raise _problem(error.answer) from None
        unanswered = (HTTPStatus.SERVICE_UNAVAILABLE, None, "Geen antwoord", list[dict[str, Any]]())
        return [told.get(index) or Rij(first + index, *unanswered) for index in range(len(chunk))]

    def intrekken(self, bericht_id: UUID, bericht: Mapping[str, Any] | bytes) -> Aangenomen:
        """Withdraw a message by a new one. Raises `ProblemError`."""
        body = bericht if isinstance(bericht, bytes) else json.dumps(bericht).encode()
        return _accepted(self._call("POST", f"/v1/berichten/{bericht_id}/intrekking", content=body))

    def bewijs(self, bericht_id: UUID, voor: Literal["afzender", "geadresseerde"] = "afzender") -> bytes:
        """Give an extract of a message's evidence, a ZIP. That it was given becomes part of the evidence."""
        return self._answer("GET", f"/v1/berichten/{bericht_id}/bewijs", params={"voor": voor}).content

    def opvragen(self, bericht_id: UUID) -> dict[str, Any]:
        """Give what has become of a message, as the API tells it. Raises `ProblemError` (404) for an unknown one."""
        return self._call("GET", f"/v1/berichten/{bericht_id}")

    def annuleren(self, bericht_id: UUID, reden: str) -> dict[str, Any]:
        """Call back a message that was not sent yet; `ProblemError` with status 409 when it was."""
        body = json.dumps({"reden": reden}).encode()
        return self._call("POST", f"/v1/berichten/{bericht_id}/annulering", content=body)

    def statuswijzigingen(self, na: str = "", aantal: int = 100) -> Iterator[Statuswijziging]:
        """Give every change since a cursor, page after page; keep the last one's `cursor` when the loop is done.

        The cursor is that of a whole page: keep it only after all of its changes were worked.
        """
        more = True
        while more:
            query = {"aantal": str(aantal), **({"na": na} if na else {})}
            page = self._call("GET", "/v1/statuswijzigingen", params=query)
            na, more = page["volgende"], page["meer"]
            for change in page["statuswijzigingen"]:
                yield Statuswijziging(
                    UUID(change["id"]),
                    UUID(change["berichtId"]),
                    change["kenmerk"],
                    change["soort"],
                    change["status"],
                    change["uitkomst"],
                    tuple(change["redenen"]),
                    change["tijdstip"],
                    na,
                )

    def _call(
        self, method: str, path: str, *, content: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self._answer(method, path, content=content, params=params).json()
        return found

    def _answer(
        self, method: str, path: str, *, content: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        headers: dict[str, str] = {}
        if content is not None:
            headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{uuid4()}"'}

        def once() -> httpx.Response:
            answer = self._http.request(method, path, content=content, params=params, headers=headers)
            being_done = answer.status_code == HTTPStatus.CONFLICT and "Retry-After" in answer.headers
            if being_done or answer.status_code in _LATER:
                raise _TryAgainError(answer)
            return answer

        try:
            answer = self._retrying(once)
        except _TryAgainError as error:
            answer = error.answer
        if not answer.is_success:
            raise _problem(answer)
        return answer


def _accepted(found: Mapping[str, Any]) -> Aangenomen:
    return Aangenomen(UUID(found["id"]), found["afzender"], found["kenmerk"], found["aangenomenTijdstip"])


def _problem(answer: httpx.Response) -> ProblemError:
    try:
        found: dict[str, Any] = answer.json()
    except ValueError:
        found = {}
    return ProblemError(answer.status_code, found)


def _asked_wait(state: RetryCallState) -> float:
    """Give the seconds that `Retry-After` asks for, a minute at most."""
    error = state.outcome.exception() if state.outcome is not None else None
    told = error.answer.headers.get("Retry-After", "") if isinstance(error, _TryAgainError) else ""
    return min(float(told), 60.0) if told.isascii() and told.isdecimal() else 0.0
