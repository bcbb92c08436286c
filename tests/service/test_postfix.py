"""What a real Postfix says of a failed delivery, read back.

A Postfix of its own, started for this test on the loopback interface, relays each mail to a scripted server that
refuses it with a given reply in a given phase. The reports Postfix then writes to the sender must be read for what the
reply meant. Needs root and Debian's postfix; the mails, hosts and people are invented.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bode.domain.bounces import BounceMail, MailKind, Phase, Reason, RuleBook, Verdict, read_mail

HARD, SOFT, SENDER, UNDETERMINED = Verdict.HARD, Verdict.SOFT, Verdict.SENDER, Verdict.UNDETERMINED
TABLES = Path(__file__).parents[2] / "config" / "bounces"
POSTFIX = Path("/usr/sbin/postfix")
SENDER_DOMAIN = "bode.example"

# Each phase, its replies, and what each must be taken for. A line end in a reply makes it one of several lines.
REPLIES: dict[Phase, dict[str, Verdict | Reason]] = {
    Phase.CONNECT: {
        "554 5.7.1 192.0.2.4 is blacklisted here": SENDER,
        "521 5.7.1 your address is listed": SENDER,
        "554 no SMTP service for strangers": SENDER,
        "550 5.1.1 no such user": SENDER,
        "554 5.7.1 access denied": SENDER,
        "521 5.3.2 this host does not accept mail": SOFT,
        "550 5.7.1 poor reputation of your network": SENDER,
        "421 4.3.2 too many connections from your address": Reason.RATE_LIMITED,
        "450 4.7.1 greylisting in action, come back": Reason.GREYLISTED,
        "421 service not available": SOFT,
    },
    Phase.EHLO: {
        "550 5.7.1 invalid HELO name": SENDER,
        "550 5.1.1 user unknown": SENDER,
        "554 5.7.1 listed on a DNSBL": SENDER,
        "501 5.5.4 syntax error in parameters": SENDER,
        "550 5.7.25 no reverse DNS for your address": SENDER,
        "550 mailbox unavailable": SENDER,
        "421 4.4.2 session timed out": SOFT,
        "450 4.7.1 try again later": SOFT,
        "451 4.3.0 temporary system problem": SOFT,
    },
    Phase.MAIL_FROM: {
        "550 5.1.8 domain of sender address does not exist": SENDER,
        "553 5.1.8 sender address rejected: domain not found": SENDER,
        "550 5.7.23 SPF check failed": SENDER,
        "550 5.7.26 DMARC policy asks to reject": SENDER,
        "550 5.1.1 user unknown": SENDER,
        "552 5.3.4 message size exceeds fixed limit": SENDER,
        "530 5.7.0 authentication required": SENDER,
        "550 go away": SENDER,
        "451 4.1.8 sender address lookup failed": SENDER,
        "452 4.3.1 insufficient system storage": SOFT,
    },
    Phase.RCPT_TO: {
        "550 5.1.1 <{address}>: Recipient address rejected: User unknown in virtual mailbox table": Reason.USER_UNKNOWN,
        "550 5.1.1 <{address}>... User unknown": Reason.USER_UNKNOWN,
        "550 {address}... No such user": Reason.USER_UNKNOWN,
        "550 No such user here": Reason.USER_UNKNOWN,
        "550 5.7.1 No such user": Reason.USER_UNKNOWN,
        "550 5.1.10 the domain has a null MX": Reason.HOST_UNKNOWN,
        "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Please check it.": HARD,
        "550 5.2.1 The email account that you tried to reach is disabled.": Reason.MAILBOX_DISABLED,
        "550 Requested action not taken: mailbox unavailable": Reason.USER_UNKNOWN,
        "551 5.1.6 this user has moved": Reason.MOVED,
        "501 5.1.3 bad recipient address syntax": Reason.ADDRESS_SYNTAX,
        "550 5.4.1 Recipient address rejected: Access denied": HARD,
        "550 5.2.1 <{address}>... User unknown": UNDETERMINED,
        "550 5.0.0 <{address}>... User unknown": UNDETERMINED,
        "550 unknown or mailbox full": Reason.AMBIGUOUS,
        "552 5.2.2 mailbox full": Reason.MAILBOX_FULL,
        "550 5.1.1 user over quota": Reason.MAILBOX_FULL,
        "450 4.2.1 the user you try to reach receives mail at a rate too high; too many messages for this user": SOFT,
        "450 4.1.1 <{address}>: unverified address": SOFT,
        "451 4.7.1 greylisted, try again in 300 seconds": Reason.GREYLISTED,
        "452 4.2.2 mailbox full": Reason.MAILBOX_FULL,
        "452 4.5.3 too many recipients": SOFT,
        "450 4.2.1 mailbox inactive": SOFT,
        "554 5.7.1 <{address}>: Relay access denied": Reason.RELAY_DENIED,
        "550 5.7.1 client host is on a blacklist": SENDER,
        "550 5.7.1 recipient does not accept mail from your network by policy": SENDER,
        "550 recipient access rule not found": UNDETERMINED,
        "550 5.0.0 sorry": UNDETERMINED,
    },
    Phase.DATA: {
        "550 5.1.1 user unknown": Reason.USER_UNKNOWN,
        "550 user unknown": UNDETERMINED,
        "554 5.7.1 blocked for spam": Reason.SPAM,
        "554 5.5.1 no valid recipients": UNDETERMINED,
        "451 4.3.0 queue file write error": SOFT,
        "550 5.7.1 message refused by policy": SENDER,
        "552 5.2.2 over quota": Reason.MAILBOX_FULL,
        "554 transaction failed": SOFT,
    },
    Phase.AFTER_DOT: {
        "550 5.1.1 <{address}>: no such user": Reason.USER_UNKNOWN,
        "550 unknown user {address}": UNDETERMINED,
        "550 5.2.0 unknown user {address}": UNDETERMINED,
        "554 5.7.1 this looks like spam": Reason.SPAM,
        "550 5.7.26 unauthenticated mail from bode.example is not accepted": SENDER,
        "552 5.3.4 message too big": Reason.SIZE,
        "554 5.6.0 message content rejected": Reason.CONTENT,
        "552 5.7.0 virus found": Reason.CONTENT,
        "552 5.2.2 mailbox is full": Reason.MAILBOX_FULL,
        "554 5.4.6 too many hops": Reason.ROUTING_LOOP,
        "451 4.7.1 too many messages, slow down": SOFT,
        "452 4.2.2 over quota": Reason.MAILBOX_FULL,
        "554 delivery error: dd This user doesn't have a yahoo.com account ({address}) [0] - mta1.yahoo.com": HARD,
    },
}


@dataclass(slots=True)
class Case:
    """One mail and what the scripted server answers to it."""

    name: str
    phase: Phase
    reply: str
    meant: Verdict | Reason
    port: int = 0

    @property
    def own_server(self) -> bool:
        """Whether the reply comes before anybody is named, so that only a server of its own can give it."""
        return self.phase in {Phase.CONNECT, Phase.EHLO}

    @property
    def domain(self) -> str:
        return f"{self.name}.example.nl"

    @property
    def recipient(self) -> str:
        return f"jan@{self.domain}"

    @property
    def sender(self) -> str:
        return f"post+{self.name}@{SENDER_DOMAIN}"

    @property
    def temporary(self) -> bool:
        return self.reply.startswith("4")


CASES = [
    Case(f"{phase.value.replace('_', '-')}-{number}", phase, reply, meant)
    for phase, replies in REPLIES.items()
    for number, (reply, meant) in enumerate(replies.items())
]
SEVERAL = [
    Case("several-1", Phase.RCPT_TO, "550 5.1.1 no such user", Reason.USER_UNKNOWN),
    Case("several-2", Phase.RCPT_TO, "552 5.2.2 over quota", Reason.MAILBOX_FULL),
    Case("several-3", Phase.RCPT_TO, "250 2.1.5 fine", Reason.DELIVERED),
]


@dataclass(slots=True)
class Scripted:
    """An SMTP server that answers each mail as its case says, found by the domain of an address in the dialogue."""

    cases: dict[str, Case]
    only: Case | None = None
    server: asyncio.Server | None = None
    kept: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1_000_000)
        return self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self.server
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Dialogue(self, reader, writer, case=self.only)
        if not await talk.say(Phase.CONNECT, "220 mx.example.nl ESMTP"):
            return
        while (line := (await reader.readline()).decode().strip()) and line.upper() != "QUIT":
            await talk.answer(line)
        writer.write(b"221 2.0.0 bye\r\n")


@dataclass(slots=True)
class Dialogue:
    """One connection to the scripted server."""

    server: Scripted
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    case: Case | None
    recipients: list[str] = field(default_factory=list[str])

    async def say(self, phase: Phase, otherwise: str) -> bool:
        """Give the reply of the case when this is its phase, and tell whether the dialogue goes on."""
        said = self.case.reply if self.case and self.case.phase is phase else otherwise
        address = self.recipients[-1] if self.recipients else ""
        for line in said.split("\n"):
            self.writer.write(f"{line.format(address=address)}\r\n".encode())
        await self.writer.drain()
        return said is otherwise

    async def answer(self, line: str) -> None:
        verb = line.split(":", 1)[0].upper().split(" ")[0]
        address = line.partition("<")[2].partition(">")[0]
        if verb in {"EHLO", "HELO"}:
            await self.say(Phase.EHLO, "250 mx.example.nl")
        elif verb == "MAIL":
            self.recipients.clear()
            self.case = self.server.only or self.server.cases.get(_token(address))
            await self.say(Phase.MAIL_FROM, "250 2.1.0 ok")
        elif verb == "RCPT":
            self.recipients.append(address)
            self.case = self.server.only or self.server.cases.get(address.partition("@")[2].partition(".")[0])
            await self.say(Phase.RCPT_TO, "250 2.1.5 ok")
        elif verb == "DATA":
            if await self.say(Phase.DATA, "354 go on"):
                await self._receive()
        else:
            self.writer.write(b"250 2.0.0 ok\r\n")

    async def _receive(self) -> None:
        raw = await self.reader.readuntil(b"\r\n.\r\n")
        if await self.say(Phase.AFTER_DOT, "250 2.0.0 kept"):
            for recipient in self.recipients:
                self.server.kept[recipient].append(raw.replace(b"\r\n..", b"\r\n."))


def _token(address: str) -> str:
    """Give the name of the case in the sender's address, which is also the recipient of the report."""
    return address.partition("+")[2].partition("@")[0]


MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.bode.example
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
local_recipient_maps =
alias_maps =
alias_database =
disable_dns_lookups = yes
smtp_host_lookup = native
relayhost = [127.0.0.1]:{relay}
transport_maps = inline:{{ {transports} }}
smtp_tls_security_level = none
smtp_skip_5xx_greeting = no
smtp_connection_cache_on_demand = no
smtp_destination_concurrency_failed_cohort_limit = 0
default_process_limit = 20
notify_classes =
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
delay_warning_time = 2s
maximal_queue_lifetime = 6s
bounce_queue_lifetime = 60s
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A Postfix of its own in a folder of its own, stopped and removed with all it holds."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bode-postfix-"))
        self.port = _free_port()

    def start(self, relay: int, transports: dict[str, int]) -> None:
        self.folder.chmod(0o755)
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        listed = ", ".join(f"{{{domain} = smtp:[127.0.0.1]:{port}}}" for domain, port in transports.items())
        (self.folder / "etc" / "main.cf").write_text(
            MAIN.format(folder=self.folder, relay=relay, transports=listed), "utf-8"
        )
        (self.folder / "etc" / "master.cf").write_text(MASTER.format(port=self.port), "utf-8")
        self._run("start")
        self._wait(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close())

    def stop(self) -> None:
        pid = self.folder / "queue" / "pid" / "master.pid"
        try:
            if pid.exists():
                self._run("abort")
                deadline = time.monotonic() + 20
                while self._run("status", check=False) == 0 and time.monotonic() < deadline:
                    time.sleep(0.1)
        finally:
            shutil.rmtree(self.folder)

    def log(self) -> str:
        path = self.folder / "mail.log"
        return path.read_text("utf-8", "replace")[-4000:] if path.exists() else "no log"

    def _run(self, command: str, *, check: bool = True) -> int:
        done = subprocess.run(
            [POSTFIX, "-c", self.folder / "etc", command], capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            pytest.fail(f"postfix {command}: {done.stdout}{done.stderr}{self.log()}")
        return done.returncode

    def _wait(self, attempt: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                attempt()
            except OSError as error:
                if time.monotonic() > deadline:
                    pytest.fail(f"Postfix does not listen: {error}; {self.log()}")
                time.sleep(0.1)
            else:
                return


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def _send(port: int, mails: Iterable[tuple[str, list[str]]]) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="worker.bode.example", timeout=30) as client:
        for sender, recipients in mails:
            head = f"From: {sender}\nTo: {recipients[0]}\nMessage-ID: <{sender}>\nSubject: U heeft een bericht\n"
            client.sendmail(sender, recipients, head + "\nGoedendag.\n")


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports that came back, by the name of the case; and how long Postfix took."""

    final: dict[str, BounceMail]
    warnings: dict[str, BounceMail]
    seconds: float


@pytest.fixture(scope="module")
def rules() -> RuleBook:
    return RuleBook.from_tables(tomllib.loads(path.read_text("utf-8")) for path in sorted(TABLES.glob("*.toml")))


def _need_postfix() -> None:
    if not POSTFIX.exists():
        pytest.fail("This test needs a real Postfix: apt-get install postfix")
    if os.geteuid() != 0:
        pytest.fail("This test starts a Postfix of its own and needs root for it")


@asynccontextmanager
async def _reports(rules: RuleBook) -> AsyncGenerator[Reports, None]:
    _need_postfix()
    by_name = {case.name: case for case in (*CASES, *SEVERAL)}
    relay = Scripted(by_name)
    sink = Scripted({})
    own = [Scripted({}, only=case) for case in CASES if case.own_server]
    postfix = Postfix()
    servers = [relay, sink, *own]
    try:
        ports = [await server.start() for server in servers]
        transports = {SENDER_DOMAIN: ports[1]}
        transports |= {server.only.domain: port for server, port in zip(own, ports[2:], strict=True) if server.only}
        await asyncio.to_thread(postfix.start, ports[0], transports)
        started = time.monotonic()
        mails = [(case.sender, [case.recipient]) for case in CASES]
        mails.append((f"post+several@{SENDER_DOMAIN}", [case.recipient for case in SEVERAL]))
        await asyncio.to_thread(_send, postfix.port, mails)
        yield await _collect(rules, sink, postfix, started)
    finally:
        await asyncio.to_thread(postfix.stop)
        for server in servers:
            if server.server:
                await server.stop()


async def _collect(rules: RuleBook, sink: Scripted, postfix: Postfix, started: float) -> Reports:
    """Wait until each mail has had its last report, and each temporary refusal a warning before it."""
    final: dict[str, BounceMail] = {}
    warnings: dict[str, BounceMail] = {}
    wanted = {case.name for case in CASES} | {"several"}
    warned = {case.name for case in CASES if case.temporary}
    while time.monotonic() - started < 90 and (wanted - final.keys() or warned - warnings.keys()):
        await asyncio.sleep(0.2)
        for address, raws in list(sink.kept.items()):
            name = _token(address)
            while raws:
                mail = read_mail(raws.pop(0), rules)
                delayed = all(one.classification.reason is Reason.DELAYED for one in mail.recipients)
                (warnings if delayed else final)[name] = mail
    if missing := wanted - final.keys():
        pytest.fail(f"no report on {sorted(missing)}: {postfix.log()}")
    return Reports(final, warnings, time.monotonic() - started)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_each_report_of_a_real_postfix_is_read_for_what_the_reply_meant(
    rules: RuleBook, capsys: pytest.CaptureFixture[str]
):
    assert len(CASES) >= 60
    assert len({case.phase for case in CASES}) == 6
    async with _reports(rules) as reports:
        wrong = [
            f"{case.phase}: {case.reply!r} was read as {said.verdict}/{said.reason} by {said.rule}, meant {case.meant}"
            for case in CASES
            if (said := reports.final[case.name].recipients[0].classification)
            and case.meant not in {said.verdict, said.reason}
        ]
        assert not wrong, "\n".join(wrong)
        for case in CASES:
            mail = reports.final[case.name]
            assert mail.kind is MailKind.DSN
            assert [one.recipient for one in mail.recipients] == [case.recipient]
            assert mail.delivered_to == (case.sender,)
            assert mail.message_id == case.sender

        several = {one.recipient: one.classification.reason for one in reports.final["several"].recipients}
        assert several == {case.recipient: case.meant for case in SEVERAL[:2]}

        temporary = [case for case in CASES if case.temporary]
        assert len(temporary) >= 15
        for case in temporary:
            warning = reports.warnings[case.name].recipients[0]
            assert (warning.recipient, warning.action) == (case.recipient, "delayed")
            assert warning.classification.verdict is Verdict.NOT_A_BOUNCE
            assert reports.final[case.name].recipients[0].action == "failed"
        with capsys.disabled():
            counts = f"{len(reports.final)} reports and {len(reports.warnings)} warnings"
            sys.stdout.write(f"\nPostfix: {counts} in {reports.seconds:.1f} s\n")
