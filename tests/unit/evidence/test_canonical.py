"""Canonical JSON (RFC 8785): the short way for simple values gives what the library gives, byte for byte."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bode.evidence.envelope import canonical

_json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Control characters, the two that are escaped by name, and text beyond ASCII and beyond the basic plane.
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), _json_values, max_size=6))
def test_the_short_way_to_canonical_bytes_gives_what_the_library_gives(value: dict[str, Any]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [{"a": 2**53}, {"a": float("nan")}, {"a": "\ud800"}], ids=["large", "nan", "half"])
def test_what_has_no_canonical_form_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises((rfc8785.CanonicalizationError, UnicodeEncodeError)):
        canonical(value)
