"""The table in the configuration: what is wrong is named, and no secret is told."""

from __future__ import annotations

import pytest

from bode_adapters.contract import SettingError
from bode_adapters.email import SmtpCarrier, SmtpNotifier
from bode_adapters.email.settings import Destination, SmtpSettings, Timeouts, Tls

from .authority import Authority
from .parts import clock

TWO = [{"host": "a.example"}, {"host": "b.example", "port": 25}]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"host": ""}, "host"),
        ({"host": None}, "host"),
        ({"host": 5}, "host"),
        ({"host": "mail.example", "tls": "none"}, "tls"),
        ({"tls": "ssl"}, "tls"),
        ({"tls": "off"}, "tls"),
        ({"tls": True}, "tls"),
        ({"allow_insecure": "yes"}, "allow_insecure"),
        ({"port": 0}, "port"),
        ({"port": "25"}, "port"),
        ({"port": 25.5}, "port"),
        ({"connections": True}, "connections"),
        ({"connections": 0}, "connections"),
        ({"mails_per_connection": 0}, "mails_per_connection"),
        ({"idle_seconds": 0}, "idle_seconds"),
        ({"priority": -1}, "priority"),
        ({"weight": 0}, "weight"),
        ({"timeouts": 5}, "timeouts"),
        ({"timeouts": {"command": 0}}, "timeouts.command"),
        ({"timeouts": {"final": 601}}, "timeouts.final"),
        ({"timeouts": {"connexion": 5}}, "timeouts.connexion"),
        ({"username": "x", "tls": "starttls"}, "password"),
        ({"password": "x", "tls": "starttls"}, "username"),
        ({"username": "x", "password": "x"}, "tls"),
        ({"username": "x", "password": "x", "host": "a.example", "allow_insecure": True}, "tls"),
        ({"helo_name": "a b"}, "helo_name"),
        ({"tls": "starttls", "ca_file": "/nowhere.pem"}, "ca_file"),
        ({"ca_file": "/nowhere.pem"}, "tls"),
        ({"tls": "tls", "client_certificate_file": "/nowhere.pem"}, "client_certificate_file"),
        ({"tls": "tls", "client_key_file": "/nowhere.pem"}, "client_certificate_file"),
        ({"retries": 3}, "retries"),
        ({"relays": TWO}, "host"),
        ({"host": None, "relays": TWO, "weight": 3}, "weight"),
        ({"host": None, "relays": []}, "relays"),
        ({"host": None, "relays": "a.example"}, "relays"),
        ({"host": None, "relays": ["a.example"]}, "relays[0]"),
        ({"host": None, "tls": "starttls", "relays": [*TWO, {"port": 25}]}, "relays[2].host"),
        ({"host": None, "tls": "starttls", "relays": [*TWO, {"host": "c.example", "tls": "no"}]}, "relays[2].tls"),
        ({"host": None, "tls": "starttls", "relays": [*TWO, TWO[0]]}, "relays"),
        ({"destinations": {}}, "destinations"),
        ({"destinations": ["a.example"]}, "destinations[0]"),
        ({"destinations": [{"domains": ["a.example"]}]}, "destinations[0].concurrency"),
        ({"destinations": [{"domains": [], "concurrency": 1}]}, "destinations[0].domains"),
        ({"destinations": [{"domains": "a.example", "concurrency": 1}]}, "destinations[0].domains"),
        ({"destinations": [{"domains": ["a.example", 5], "concurrency": 1}]}, "destinations[0].domains"),
        ({"destinations": [{"domains": ["a@b.example"], "concurrency": 1}]}, "destinations[0].domains"),
        ({"destinations": [{"domains": ["*", "a.example"], "concurrency": 1}]}, "destinations[0].domains"),
        ({"destinations": [{"domains": ["a.example"], "concurrency": 1}] * 2}, "destinations[1].domains"),
        ({"destinations": [{"domains": ["a.example"], "per_minute": 0}]}, "destinations[0].per_minute"),
        ({"destinations": [{"domains": ["a.example"], "per_minute": 1, "x": 1}]}, "destinations[0].x"),
    ],
)
@pytest.mark.parametrize("adapter", [SmtpNotifier, SmtpCarrier])
def test_a_wrong_setting_is_named(
    adapter: type[SmtpNotifier | SmtpCarrier], changes: dict[str, object], key: str
) -> None:
    table = {"host": "127.0.0.1", "tls": "none"} | changes
    table = {name: value for name, value in table.items() if name != "host" or value is not None}
    with pytest.raises(SettingError) as caught:
        adapter.from_settings(table, clock=clock)
    assert caught.value.key == key


@pytest.mark.parametrize(
    "table",
    [
        {"host": "::1", "username": "a", "password": 4711},
        {"relays": [{"host": "a.example", "username": "a", "password": 4711}]},
        {"relays": {"host": "a.example", "password": "4711"}},
        {"relays": ["4711"]},
    ],
)
def test_a_password_is_never_told(table: dict[str, object]) -> None:
    with pytest.raises(SettingError) as caught:
        SmtpNotifier.from_settings(table, clock=clock)
    assert "4711" not in str(caught.value)


def test_a_password_is_not_in_a_representation() -> None:
    read = SmtpSettings.read({"host": "a.example", "username": "a", "password": "4711"})
    assert "4711" not in repr(read)


def test_tls_is_required_where_nothing_is_said() -> None:
    (relay,) = SmtpSettings.read({"host": "mail.example"}).relays
    assert (relay.tls, relay.port) == (Tls.STARTTLS, 587)
    context = relay.tls_context()
    assert context is not None
    assert context.check_hostname


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "LocalHost", "127.9.9.9"])
def test_an_open_line_is_for_this_machine(host: str) -> None:
    (relay,) = SmtpSettings.read({"host": host, "tls": "none"}).relays
    assert (relay.port, relay.tls_context()) == (25, None)


def test_an_open_line_elsewhere_must_be_asked_for() -> None:
    (relay,) = SmtpSettings.read({"host": "mail.example", "tls": "none", "allow_insecure": True}).relays
    assert relay.tls is Tls.NONE


def test_what_stands_beside_relays_holds_for_each_that_says_nothing_else() -> None:
    table = {
        "username": "bode",
        "password": "geheim",
        "timeouts": {"final": 120},
        "relays": [{"host": "a.example", "weight": 3}, {"host": "b.example", "tls": "tls", "username": "b"}],
        "destinations": [{"domains": ["Hotmail.example", "outlook.example"], "concurrency": 5, "per_minute": 300}],
    }
    read = SmtpSettings.read(table)
    first, second = read.relays
    assert (first.host, first.port, first.weight, first.username) == ("a.example", 587, 3, "bode")
    assert (second.host, second.port, second.weight, second.username) == ("b.example", 465, 1, "b")
    assert first.timeouts == second.timeouts == Timeouts(final=120)
    assert read.destinations == (Destination(("hotmail.example", "outlook.example"), 5, 300),)


def test_a_client_key_that_is_locked_or_of_another_certificate_is_named(authority: Authority) -> None:
    locked = authority.issue(file="locked.pem", password=b"slot")
    one, other = authority.issue(file="one.pem"), authority.issue(file="other.pem")
    tables = [
        {"client_certificate_file": str(locked)},
        {"client_certificate_file": str(one), "client_key_file": str(other)},
    ]
    for table in tables:
        with pytest.raises(SettingError) as caught:
            SmtpNotifier.from_settings({"host": "a.example"} | table, clock=clock)
        assert caught.value.key == "client_certificate_file"


async def test_nothing_is_needed_to_start_but_a_host() -> None:
    notifier = SmtpNotifier.from_settings({"host": "mail.example"}, clock=clock)
    await notifier.open()
    await notifier.close()
