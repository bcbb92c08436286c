"""Others who attest checkpoints over HTTP: a time stamping authority (RFC 3161), and a witness (C2SP tlog-witness)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from http import HTTPStatus

import httpx
from cryptography import x509

from bode.engine.checkpoints import AttestationError, ProveGrowth
from bode.evidence import timestamp
from bode.evidence.note import Checkpoint, Note, NoteError, VerifierKey

_TIMEOUT = httpx.Timeout(20.0)
_MOST_BYTES = 1 << 16


class TimestampAuthority:
    """Asks for a time stamp over the signed note, and takes it only from the authority that was named."""

    kind = "timestamp"

    def __init__(self, url: str, roots: Sequence[x509.Certificate], *, client: httpx.AsyncClient | None = None) -> None:
        """Take the authority's address, and the root certificates that its own must lead to one of."""
        self._url = url
        self._roots = tuple(roots)
        self._client = client

    async def attest(self, note: bytes, checkpoint: Checkpoint, prove: ProveGrowth) -> bytes:
        """Give the time stamp response, checked. Raises `AttestationError`."""
        del checkpoint, prove
        request = timestamp.ask(note)
        answer = await _post(self._client, self._url, request.as_bytes(), "application/timestamp-query")
        if answer.status_code != HTTPStatus.OK:
            raise AttestationError(f"the time stamping authority answered {answer.status_code}")
        try:
            timestamp.check(answer.content, note, self._roots, request=request)
        except timestamp.TimestampError as error:
            raise AttestationError("the time stamp is not one of the authority named in evidence.tsa") from error
        return answer.content

    def vouches(self, note: bytes, said: bytes) -> bool:
        """Tell whether this is a time stamp over the signed note by the authority that was named."""
        return timestamp.trusting(self._roots)(said, note) is not None


class Witness:
    """Has a witness of another organisation check that the log only grew, and sign that."""

    kind = "witness"

    def __init__(self, url: str, key: VerifierKey, *, client: httpx.AsyncClient | None = None) -> None:
        """Take the witness's address (its submission prefix), and its public key."""
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._key = key
        self._client = client
        self._seen = 0

    async def attest(self, note: bytes, checkpoint: Checkpoint, prove: ProveGrowth) -> bytes:
        """Give the witness's signature line, checked. Raises `AttestationError`."""
        answer = await self._ask(self._seen, note, prove)
        if answer.status_code == HTTPStatus.CONFLICT:
            # It knows another size than we thought, and says which.
            said = answer.text.strip()
            if not (said.isascii() and said.isdecimal()) or int(said) > checkpoint.size:
                raise AttestationError("the witness knows a larger log than ours, or does not say which")
            answer = await self._ask(int(said), note, prove)
        if answer.status_code != HTTPStatus.OK:
            raise AttestationError(f"the witness answered {answer.status_code}")
        if not self.vouches(note, answer.content):
            raise AttestationError("the witness did not sign, or not with the key named in evidence.witness")
        self._seen = checkpoint.size
        return answer.content

    def vouches(self, note: bytes, said: bytes) -> bool:
        """Tell whether these signature lines hold the witness's own for the signed note."""
        try:
            return bool(Note.parse(note.partition(b"\n\n")[0] + b"\n\n" + said).verify([self._key]))
        except NoteError:
            return False

    async def _ask(self, old: int, note: bytes, prove: ProveGrowth) -> httpx.Response:
        proof = "".join(f"{b64encode(hash_).decode()}\n" for hash_ in await prove(old))
        body = f"old {old}\n{proof}\n".encode() + note
        return await _post(self._client, self._url, body, "text/plain; charset=utf-8")


async def _post(client: httpx.AsyncClient | None, url: str, body: bytes, kind: str) -> httpx.Response:
    """Post, and give an answer of a size that can be one: reading stops beyond it. Raises `AttestationError`."""
    if client is None:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as own:
            return await _post(own, url, body, kind)
    headers = {"Content-Type": kind, "Accept-Encoding": "identity"}
    try:
        async with client.stream("POST", url, content=body, headers=headers) as answer:
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _MOST_BYTES:
                    raise AttestationError("the answer is longer than any attestation")
    except httpx.HTTPError as error:
        raise AttestationError(f"cannot be reached ({type(error).__name__})") from error
    # What was unpacked must not be unpacked again.
    return httpx.Response(answer.status_code, content=bytes(content))
