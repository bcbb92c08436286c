"""One connection to an IMAP mailbox. Every call blocks, and belongs in a thread; `imap` brings the mails in."""

from __future__ import annotations

import contextlib
import logging
import re
import select
import socket
import ssl
import time
from collections.abc import Collection, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Any, Final

import imapclient  # type: ignore[import-untyped]  # it ships no types; what comes out is checked here
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError  # type: ignore[import-untyped]

from bode.engine.routes.loopback import is_loopback
from bode_adapters.oauth import AccessTokens, NoToken, OAuthClient, initial_response

_WINDOW: Final = 20_000
"""Mails asked about in one search: the answer is one line, and a line has a longest length."""
_ONE_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_STEP_SECONDS: Final = 0.5
"""How long a wait goes on after it was asked to stop."""


class Lost(Exception):  # noqa: N818 - what happened, as the caller says it
    """The connection is no longer good for anything, or was never made; the text is the type of the trouble."""


class Refused(Exception):  # noqa: N818
    """The server, or our own limit, refuses this one mail; the text says why, in a word."""


class Tls(StrEnum):
    """How the connection is kept private."""

    TLS = "tls"
    """From the first byte: port 993."""
    STARTTLS = "starttls"
    """Asked for, and required, before the password is sent: port 143."""
    NONE = "none"
    """Not at all: to this machine only."""


@dataclass(frozen=True, slots=True)
class ImapAccount:
    """A mailbox that is Bode's alone. A person who opens it would mark mails as seen, and those are passed over."""

    host: str
    user: str
    password: str | None = field(default=None, repr=False)
    port: int = 993
    tls: Tls = Tls.TLS
    oauth: OAuthClient | None = None
    """Where access tokens come from, for a server that takes no passwords."""
    ca_file: Path | None = None
    """The authorities to trust; those of the system when absent."""
    folder: str = "INBOX"
    done: str | None = None
    """Where stored mails are moved to; without it they are marked as seen."""
    apart: str | None = None
    """Where mails go that cannot be read; without it they are marked as seen and flagged."""
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what would send a secret in the clear over a network, and no secret. Raises `ValueError`."""
        if self.tls is Tls.NONE and not is_loopback(self.host):
            raise ValueError(f"a password or a token for {self.host} is sent over TLS only")
        if (self.password is None) == (self.oauth is None):
            raise ValueError("needs a password, or oauth, and not both")
        if not _ONE_LINE.fullmatch(self.user):
            raise ValueError("user is one line of text")


class ImapMailbox:
    """One connection. Calls raise `Lost`, after which only `close` is of use, and `Refused` about a single mail."""

    def __init__(self, account: ImapAccount, stop: Event, tokens: AccessTokens | None) -> None:
        """Take the account, the event that ends a wait, and the tokens of an account that has `oauth`."""
        self._account = account
        self._tokens = tokens
        self._stop = stop
        self._client: Any = None
        self.validity = 0
        """The UIDVALIDITY of the folder when it was last looked into: uids of another one mean nothing."""
        self.can_wait = False
        """Whether the server tells of new mail by itself (IDLE, RFC 2177)."""

    def open(self) -> None:
        """Connect, log in, and make the folders that are missing."""
        account = self._account
        # At debug level the library logs whole mails.
        logging.getLogger("imapclient").setLevel(logging.WARNING)
        with _lost():
            context = ssl.create_default_context(cafile=account.ca_file)
            client = self._client = _connect(account, context)
            if self._stop.is_set():
                # Whoever waited for this connection has gone.
                self.close()
                raise Lost("Stopped")
            if account.tls is Tls.STARTTLS:
                client.starttls(context)
            self._log_in(client)
            for folder in filter(None, (account.done, account.apart)):
                if not client.folder_exists(folder):
                    client.create_folder(folder)
            self.can_wait = bool(client.has_capability("IDLE"))

    def _log_in(self, client: Any) -> None:
        account, password = self._account, self._account.password
        if self._tokens is not None:
            self._present(client, self._tokens)
        elif password is not None and password.isascii() and account.user.isascii():
            client.login(account.user, password)
        else:
            client.plain_login(account.user, password)

    def _present(self, client: Any, tokens: AccessTokens) -> None:
        """Log in with an access token: OAUTHBEARER (RFC 7628) where the server has it, else XOAUTH2 (Microsoft's)."""
        standard = bool(client.has_capability("AUTH=OAUTHBEARER"))
        if not standard and not client.has_capability("AUTH=XOAUTH2"):
            raise Lost("oauth_not_offered")
        try:
            token = tokens.give()
        except NoToken as error:
            raise Lost(str(error)) from error
        first = initial_response(self._account.user, token, standard=standard)
        # A server that refuses says why in a challenge, and says NO after the client's empty answer to that.
        answers = iter([first])

        def respond(_challenge: bytes) -> str:
            return next(answers, "\1" if standard else "")

        try:
            client.sasl_login("OAUTHBEARER" if standard else "XOAUTH2", respond)
        except IMAPClientAbortError:
            raise
        except IMAPClientError as error:
            tokens.forget()
            raise Lost("token_not_accepted") from error

    def unseen(self, most: int, *, but: Collection[tuple[int, int]]) -> list[int]:
        """Give the uids of mails not brought in yet, the oldest first, without those of `but` (validity and uid)."""
        with _lost():
            # Selecting anew is what tells of a folder that was made anew, and of how many mails it has.
            seen = self._client.select_folder(self._account.folder)
            self.validity = int(seen.get(b"UIDVALIDITY", 0))
            exists = int(seen.get(b"EXISTS", 0))
            found: list[int] = []
            for first in range(1, exists + 1, _WINDOW):
                last = min(first + _WINDOW - 1, exists)
                uids = sorted(int(uid) for uid in self._client.search([f"{first}:{last}", "UNSEEN", "UNDELETED"]))
                found += [uid for uid in uids if (self.validity, uid) not in but]
                if len(found) >= most:
                    break
            return found[:most]

    def fetch(self, uid: int, *, max_bytes: int) -> bytes | None:
        """Give a mail without marking it as seen; nothing when it is gone. Raises `Refused`, also when too large."""
        with _lost(), _refused():
            about = self._client.fetch([uid], ["RFC822.SIZE"]).get(uid)
            if about is None:
                return None
            if int(about.get(b"RFC822.SIZE", 0)) > max_bytes:
                raise Refused("too_large")
            # The size was the server's word. Asking for one byte too many finds out, whatever there is.
            found = self._client.fetch([uid], [f"BODY.PEEK[]<0.{max_bytes + 1}>"]).get(uid)
            if found is None:
                return None
            content = next((value for key, value in found.items() if key.startswith(b"BODY[]")), None)
            if not isinstance(content, bytes):
                raise Refused("no_content")
            if len(content) > max_bytes:
                raise Refused("too_large")
            return content

    def done(self, uid: int) -> None:
        """Mark a mail as brought in, and move it where a folder is set for that. Raises `Refused`."""
        with _lost(), _refused():
            self._client.add_flags([uid], [imapclient.SEEN], silent=True)
            if self._account.done is not None:
                self._move(uid, self._account.done)

    def apart(self, uid: int) -> None:
        """Put a mail where a person finds it and the route does not. Raises `Refused`."""
        with _lost(), _refused():
            if self._account.apart is not None:
                self._move(uid, self._account.apart)
            else:
                self._client.add_flags([uid], [imapclient.SEEN, imapclient.FLAGGED], silent=True)

    def _move(self, uid: int, folder: str) -> None:
        if self._client.has_capability("MOVE"):
            self._client.move([uid], folder)
            return
        self._client.copy([uid], folder)
        self._client.add_flags([uid], [imapclient.DELETED], silent=True)
        if self._client.has_capability("UIDPLUS"):
            # A plain EXPUNGE would remove what others have marked; without this the mark stays, and is passed over.
            self._client.uid_expunge([uid])

    def wait(self, seconds: float) -> None:
        """Wait until the server tells of mail, the seconds are over, or the stop event is set."""
        with _lost():
            self._client.idle()
            until = time.monotonic() + seconds
            while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
                step = min(left, _STEP_SECONDS)
                began = time.monotonic()
                told = self._client.idle_check(timeout=step)
                if any(b"EXISTS" in item or b"BYE" in item for item in told):
                    break
                if not told and time.monotonic() - began < step / 2:
                    # The library shows a closed connection as no news at once; the next answer will be missing.
                    break
            self._client.idle_done()

    def close(self) -> None:
        """Close the connection without a word; never raises."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.shutdown()

    def leave(self) -> None:
        """Log out and close; never raises."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.logout()
        self.close()

    def break_off(self) -> None:
        """From another thread: make a call that hangs end at once."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.socket().shutdown(socket.SHUT_RDWR)


class _Client(imapclient.IMAPClient):  # type: ignore[misc] # the library has no types
    """Sees what was read ahead: news in one packet with the consent to wait is in a buffer, no longer in the socket."""

    def _poll_socket(self, sock: Any, timeout: float | None = None) -> Any:
        buffer: Any = self._imap.file
        try:
            ahead: bytes = buffer.peek(1)
        except OSError:  # Over TLS: nothing yet.
            ahead = b""
        if ahead:
            return [(sock.fileno(), select.POLLIN)]
        library: Any = super()
        return library._poll_socket(sock, timeout)  # noqa: SLF001 - what is overridden here


def _connect(account: ImapAccount, context: ssl.SSLContext) -> Any:
    return _Client(
        account.host,
        account.port,
        ssl=account.tls is Tls.TLS,
        ssl_context=context,
        timeout=account.timeout_seconds,
    )


@contextlib.contextmanager
def _lost() -> Generator[None]:
    """Make one exception of all that a network, a server and the library's reading of its answers can raise."""
    try:
        yield
    except (Lost, Refused):
        raise
    except Exception as error:
        raise Lost(type(error).__name__) from error


@contextlib.contextmanager
def _refused() -> Generator[None]:
    """Tell a server's NO about one mail from the end of the connection."""
    try:
        yield
    except IMAPClientAbortError:
        raise
    except IMAPClientError as error:
        raise Refused("refused_by_the_server") from error
