"""Addresses that must not be called, as webhooks and as URLs of documents: each form of them is refused.

A refusal is one before any byte is sent: nothing listens here, and sockets beyond this machine are closed to tests.
"""

import asyncio
import socket
import ssl
from ipaddress import ip_network

import httpx
import pytest

from bode.intake.fetching import DocumentSource
from bode_adapters.connection import Connection
from bode_adapters.contract import SettingError
from bode_adapters.rest import SettingsTable
from bode_adapters.transport import AllowedAddresses, CheckedTransport

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "loopback elsewhere": "127.9.9.9",
    "this host": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172": "172.31.255.1",
    "private 192": "192.168.1.1",
    "shared": "100.64.0.1",
    "link-local, cloud metadata": "169.254.169.254",
    "benchmarks": "198.18.0.1",
    "class E": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "multicast": "224.0.0.1",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%lo",
    "IPv6 unique local, cloud metadata": "fd00:ec2::254",
    "IPv6 site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "documentation": "2001:db8::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:a9fe:a9fe",
    "compatible loopback": "::127.0.0.1",
    "translated loopback": "::ffff:0:127.0.0.1",
    "NAT64 of private": "64:ff9b::10.0.0.1",
    "NAT64, local": "64:ff9b:1::a00:1",
    "6to4 of loopback": "2002:7f00:1::",
    "Teredo": "2001:0:53aa:64c::1",
}
NUMERIC = ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "localhost.", "127.0.0.1.nip.io"]


def resolves_to(monkeypatch, *answers):
    """Let names resolve to these in turn, the last one for ever: a name whose second answer is another."""
    left = list(answers)

    def answer(_host, port, *_rest, **_more):
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.fixture
def connected(monkeypatch):
    """Give the addresses that a connection was made to; none is."""
    seen = []

    async def connect(self, _socket, address):
        seen.append(address[0])
        raise ConnectionRefusedError("nothing here")

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", connect)
    return seen


async def call(url):
    """Call a webhook's address."""
    connection = Connection.read(SettingsTable({"base_url": url, "allow_http": True}))
    async with connection.client(headers={}) as client:
        await client.post(connection.base_url, content=b"{}")


def bare(*networks):
    """Give a transport whose client asks for whatever it is told to."""
    allowed = AllowedAddresses(networks, this_machine=False)
    return CheckedTransport(ssl.create_default_context(), connections=2, allowed=allowed)


def source(url="https://zaken.example"):
    """Give a place that documents may come from."""
    return DocumentSource.read("zaken", url=url, organisations=["00000001999000010000"], settings={})


async def fetch(url):
    """Ask a document's address of its source, as intake does."""
    async with source().connection.client(headers={}) as client:
        await client.get(url)


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_a_name_that_leads_there_is_refused_for_webhooks_and_documents(monkeypatch, connected, address):
    resolves_to(monkeypatch, address)
    with pytest.raises(httpx.ConnectError, match="not allowed"):
        await call("https://ontvanger.example/hook")
    assert source().holds("https://zaken.example/1")
    with pytest.raises(httpx.ConnectError, match="not allowed"):
        await fetch("https://zaken.example/1")
    assert connected == []


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_address_itself_is_refused_as_a_webhook_when_it_is_configured(address):
    if address in {"127.0.0.1", "127.9.9.9", "::1"}:
        return  # written out, this machine is what was meant: see `Connection`
    host = f"[{address.partition('%')[0]}]" if ":" in address else address
    with pytest.raises(SettingError):
        Connection.read(SettingsTable({"base_url": f"https://{host}/hook"}))


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_an_address_in_the_place_of_a_host_is_no_host_of_the_configuration(address):
    host = f"[{address}]" if ":" in address else address
    assert not source().holds(f"https://{host}/1")


@pytest.mark.parametrize("host", NUMERIC)
async def test_a_number_that_the_resolver_takes_for_an_address_is_refused(monkeypatch, connected, host):
    resolves_to(monkeypatch, "127.0.0.1")
    with pytest.raises((httpx.ConnectError, SettingError)):
        await call(f"https://{host}/hook")
    assert connected == []


async def test_a_second_answer_of_the_dns_is_never_asked_for(monkeypatch, connected):
    """DNS rebinding: the first answer is public, the next one is not."""
    resolves_to(monkeypatch, "93.184.216.34", "127.0.0.1")
    with pytest.raises(httpx.ConnectError):
        await call("https://ontvanger.example/hook")
    assert connected == ["93.184.216.34"]
    with pytest.raises(httpx.ConnectError, match="not allowed"):
        await call("https://ontvanger.example/hook")
    assert connected == ["93.184.216.34"]


async def test_one_forbidden_address_among_good_ones_is_enough(monkeypatch, connected):
    def answer(_host, port, *_rest, **_more):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (it, port)) for it in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(httpx.ConnectError, match="not allowed"):
        await call("https://ontvanger.example/hook")
    assert connected == []


@pytest.mark.parametrize("address", [*FORBIDDEN.values(), "127.1", "2130706433", "0x7f.1"])
async def test_an_address_that_slipped_past_the_configuration_is_refused_when_it_is_connected_to(connected, address):
    host = f"[{address.partition('%')[0]}]" if ":" in address else address
    async with httpx.AsyncClient(transport=bare()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://{host}/")
    assert connected == []


TRICKS = [
    "https://zaken.example@kwaad.example/1",
    "https://zaken.example:x@kwaad.example/1",
    "https://@zaken.example/1",
    "https://kwaad.example/@zaken.example",
    "https://kwaad.example#zaken.example",
    "https://kwaad.example?zaken.example",
    "https://kwaad.example\\@zaken.example/",
    "https://zaken.example\\.kwaad.example/",
    "https://zaken.example.kwaad.example/",
    "https://xzaken.example/",
    "https://zaken.example./",
    "https://zaken.example:8443/",
    "https://zaken.example:99999/",
    "https://zaken.example:/../x y",
    "http://zaken.example/1",
    "HTTP://zaken.example/1",
    "file:///etc/passwd",
    "gopher://zaken.example/",
    "//zaken.example/1",
    "zaken.example/1",
    "",
    "https://",
    "https://zaken.example/\r\nHost: kwaad.example",
]


@pytest.mark.parametrize("url", TRICKS)
def test_a_url_that_only_looks_like_one_of_ours_is_refused(url):
    assert not source().holds(url)


def test_a_host_written_with_other_signs_is_our_own_or_none():
    assert not source().holds("https://ⓩaken.example/1")
    same = "https://zaken。example/1"  # the full stop of IDNA: what is called is the source itself
    assert not source().holds(same) or httpx.URL(same).host == "zaken.example"


def test_a_url_of_ours_is_not_refused():
    assert source().holds("https://ZAKEN.example/documenten/1?versie=2")
    assert source().holds("https://zaken.example:443/1")
    assert source("https://dms.example:8443").holds("https://dms.example:8443/1")


async def test_a_network_of_ones_own_is_called_where_the_configuration_says_so(monkeypatch, connected):
    resolves_to(monkeypatch, "10.20.0.5")
    transport = bare(ip_network("10.20.0.0/16"))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://zaken.example")
    assert connected == ["10.20.0.5"]
