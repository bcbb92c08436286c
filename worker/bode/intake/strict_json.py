"""JSON read strictly: UTF-8, no key twice, no NaN, and not the number of parts that only an attack has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeGuard

from bode.intake.faults import Fault, Refused

_MOST_PARTS = 20_000
"""Commas, colons and brackets. The longest message has fewer than half of them, all its texts together."""
_NO_JSON = "Dit is geen geldige JSON."


class _Doubled(dict[str, Any]):
    """An object in which keys stand twice."""

    doubled: frozenset[str] = frozenset()


def parse(raw: bytes) -> tuple[Any, list[Fault]]:
    """Give the value, and a fault for every key that stands twice. Raises `Refused` for what is no JSON at all."""
    if not raw.strip():
        raise Refused([Fault("#", "leeg", "Het verzoek is leeg.")])
    if sum(raw.count(mark) for mark in (b",", b":", b"[", b"{")) > _MOST_PARTS:
        raise Refused([Fault("#", "te_veel_onderdelen", "Dit verzoek heeft veel meer onderdelen dan een bericht.")])
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused([Fault("#", "geen_utf8", "Dit verzoek is geen UTF-8.")]) from None
    doubles = False

    def an_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubles
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        doubles = True
        marked = _Doubled(made)
        names = [name for name, _ in pairs]
        marked.doubled = frozenset(name for name in made if names.count(name) > 1)
        return marked

    try:
        # A request has no numbers. They are not computed, so that 10^400 is as wrong as 1, and costs as little.
        value = json.loads(
            text, object_pairs_hook=an_object, parse_int=_a_number, parse_float=_a_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise Refused([Fault("#", "json_invalid", _NO_JSON)]) from None
    return value, _doubled(value) if doubles else []


def pointer(path: Sequence[int | str]) -> str:
    """Write a path as a JSON pointer (RFC 6901), in the fragment form."""
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def is_a_name(key: object) -> bool:
    """Tell whether a key may be repeated in an answer: one that looks like a field's name, not like a value."""
    return isinstance(key, str) and len(key) <= 40 and key.isascii() and key.isalpha()  # noqa: PLR2004 - a long name


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a JSON value is a list."""
    return isinstance(value, list)


def _a_number(text: str) -> float:
    del text
    return 0.0


def _no_number(text: str) -> float:
    raise ValueError(text)  # NaN and Infinity are Python's, not JSON's


def _doubled(value: Any) -> list[Fault]:
    faults: list[Fault] = []
    todo: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while todo:
        path, here = todo.pop()
        if isinstance(here, _Doubled):
            for name in sorted(here.doubled, key=lambda name: name.encode("utf-8", "replace")):
                at = (*path, name) if is_a_name(name) else path
                faults.append(Fault(pointer(at), "veld_dubbel", "Dit veld staat er twee keer."))
        todo += [((*path, key), child) for key, child in _children(here)]
    return faults


def _children(here: Any) -> list[tuple[int | str, Any]]:
    return list(here.items()) if is_object(here) else list(enumerate(here)) if is_list(here) else []
