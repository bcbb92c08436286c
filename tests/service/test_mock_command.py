"""`bode mock`: each mock runs as a process of its own, and the adapter made of what it prints talks to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from uuid import uuid4

import httpx
import pytest

from bode_adapters.contract import (
    IdentifierKind,
    MailRefused,
    NoProfile,
    NoticeMail,
    Pending,
    Placed,
    Refused,
    Sender,
    Unavailable,
)
from bode_adapters.testing.box import new_identifier, new_message, utc_now
from bode_adapters.testing.print_service import letter as new_letter

# Each starts a process of its own, of which the start alone takes two seconds.
pytestmark = pytest.mark.slow

SENDER = Sender("00000001999000010000", "Gemeente Maasveld", "noreply@gemeente.example", {"mijnoverheid": "MVBESLUI"})


@dataclass
class Running:
    address: str
    fragment: dict
    text: str
    process: subprocess.Popen

    def post(self, path, body):
        return httpx.post(f"{self.address}/_mock/{path}", json=body).status_code

    def get(self, path):
        return httpx.get(f"{self.address}/_mock/{path}").json()

    def adapter(self):
        """Make the adapter of what was printed, as a pasted configuration would."""
        part = self.fragment
        if "channels" in part:
            (part,) = part["channels"].values()
        else:
            (part,) = part.values()
        (point,) = [point for point in entry_points(group="bode.adapters") if point.name == part["adapter"]]
        return point.load().from_settings(part["settings"], clock=utc_now)


@contextmanager
def running(*arguments, cwd=None):
    command = [sys.executable, "-c", "from bode_ops.cli import main; main()", "mock", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, "COLUMNS": "80"}
    )
    try:
        lines = []
        while not lines or "Ctrl-C stops it" not in lines[-1]:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        text = "".join(lines)
        yield Running(lines[0].removeprefix("# ").strip(), tomllib.loads(text), text, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, process.stderr.read()
        assert process.stdout.read() == "# stopped\n"
    finally:
        process.kill()
        process.communicate()


async def using(adapter, work):
    await adapter.open()
    try:
        return await work(adapter)
    finally:
        await adapter.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mijnoverheid", IdentifierKind.BSN),
        ("ebms", IdentifierKind.BSN),
        ("mijndomein", IdentifierKind.BSN),
        ("bedrijven", IdentifierKind.KVK),
    ],
)
async def test_a_box_takes_messages_and_is_wrong_on_command(name, kind):
    with running(name, "--port", "0") as mock:
        first, second = (new_message(SENDER, addressee=new_identifier(kind)) for _ in range(2))
        adapter = mock.adapter()
        await adapter.open()
        (answer,) = await adapter.place(messages=[first])
        assert isinstance(answer, Placed | Pending)
        order = {"gedrag": "http-503", "keer": 1}
        assert mock.post("gedrag", order) == 204
        (refused,) = await adapter.place(messages=[second])
        assert not isinstance(refused, Placed | Pending)
        await adapter.close()
        assert len(mock.get("plaatsingen")) == 1


async def test_a_script_makes_it_wrong_from_the_start(tmp_path):
    script = tmp_path / "script.jsonl"
    script.write_text('{"gedrag": "http-503", "code": "7", "keer": 1}\n\n')
    with running("mijndomein", "--port", "0", "--script", str(script)) as mock:
        messages = [new_message(SENDER) for _ in range(2)]
        adapter = mock.adapter()
        await adapter.open()
        answers = [(await adapter.place(messages=[message]))[0] for message in messages]
        await adapter.close()
    assert isinstance(answers[0], Unavailable)
    assert answers[0].retry_after == 7.0
    assert isinstance(answers[1], Placed)


async def test_the_profile_service_knows_whom_it_was_told():
    with running("profielservice", "--port", "0", "--token", "sleutel") as mock:
        known, stranger = new_identifier(), new_identifier()
        assert mock.post("partijen", {"identificatieType": "BSN", "identificatieNummer": known.number}) == 204

        async def ask(adapter):
            return await adapter.profiles(addressees=[known, stranger], sender=SENDER)

        first, second = await using(mock.adapter(), ask)
        assert not isinstance(first, NoProfile | Refused)
        assert isinstance(second, NoProfile)


def a_notice(email):
    return NoticeMail(
        id=uuid4(),
        sender=SENDER,
        email=email,
        return_path="b.1@retour.gemeente.example",
        subject="Er staat een bericht voor u klaar",
        text="Er staat een bericht voor u klaar.",
    )


async def test_the_mail_server_answers_by_recipient_and_script(tmp_path):
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"recipient": "jan@example.nl", "reply": "550 5.7.1 not here"}) + "\n")
    with running("smtp", "--port", "0", "--folder", str(tmp_path / "mail"), "--script", str(script)) as mock:

        async def send(adapter):
            names = ("piet", "full", "jan")
            return await adapter.notify(notices=[a_notice(f"{name}@example.nl") for name in names])

        well, full, scripted = await using(mock.adapter(), send)
        assert isinstance(well, Placed)
        assert isinstance(full, MailRefused)
        assert (full.code, full.phase) == (452, "rcpt_to")
        assert isinstance(scripted, MailRefused)
        assert scripted.text.startswith("5.7.1 not here")
        assert len(list((tmp_path / "mail" / "new").iterdir())) == 1


async def test_the_print_service_takes_letters_over_rest():
    with running("print", "--port", "0") as mock:
        letter = new_letter()
        (answer,) = await using(mock.adapter(), lambda adapter: adapter.submit(letters=[letter]))
        assert isinstance(answer, Placed)
        assert [one["id"] for one in mock.get("brieven")] == [str(letter.id)]


@pytest.mark.parametrize("by", ["sftp", "folder"])
async def test_the_print_service_gives_letters_their_fate(by, tmp_path):
    script = tmp_path / "script.jsonl"
    script.write_text('{"status": "REJECTED", "reasonCode": "R01", "keer": 1}\n')
    options = ("--by", by, "--folder", "letters", "--script", str(script), "--print-delay", "0", "--post-delay", "0")
    with running("print", *options, cwd=tmp_path) as mock:
        if by == "folder":
            mock.fragment["print"]["settings"]["folder"] = str(tmp_path / "letters")

        async def submit(adapter):
            (answer,) = await adapter.submit(letters=[new_letter()])
            assert isinstance(answer, Placed)
            for _ in range(400):
                if reports := await adapter.reports():
                    return reports
                await asyncio.sleep(0.05)
            raise AssertionError("the print service reports nothing")

        reports = await using(mock.adapter(), submit)
        assert [(report.status, report.code) for report in reports] == [("rejected", "REJECTED")]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mijnoverheid", '{"gedrag": "wat-dan-ook"}'),
        ("ebms", '{"gedrag": "laat", "code": "ooit"}'),
        ("profielservice", '{"behaviour": "http-503"}'),
        ("smtp", '{"phase": 1}'),
        ("print", "[1]"),
    ],
)
def test_an_order_that_cannot_be_taken_is_named_with_its_line(name, line, tmp_path):
    script = tmp_path / "script.jsonl"
    script.write_text(f"\n{line}\n")
    command = [sys.executable, "-c", "from bode_ops.cli import main; main()", "mock", name, "--port", "0"]
    done = subprocess.run([*command, "--script", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{script}:2: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name in ("mijnoverheid", "smtp"):
            command = [sys.executable, "-c", "from bode_ops.cli import main; main()", "mock", name, "--port", port]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 3
            assert "Address already in use" in done.stderr or "address already in use" in done.stderr
