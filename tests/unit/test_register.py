"""Every column says what it holds and how long: a new one that does not fails here."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from bode.domain.retention import Kind
from bode.store import register, tables

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def missing(metadata):
    """Give the columns of a schema that do not stand in the register."""
    known = register.classified()
    return {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if column.name not in known.get(table.name, set())
    }


@pytest.mark.law("L13")
def test_every_column_stands_in_the_register_and_nothing_else_does():
    assert missing(tables.metadata) == set()
    known = {f"{table}.{name}" for table, names in register.classified().items() for name in names}
    assert known == {f"{t.name}.{c.name}" for t in tables.metadata.tables.values() for c in t.columns}


def test_a_new_column_without_a_class_is_found():
    grown = sa.MetaData()
    for table in tables.metadata.tables.values():
        table.to_metadata(grown)
    grown.tables["message"].append_column(sa.Column("phone_number", sa.String(20)))
    sa.Table("visitor", grown, sa.Column("name", sa.Text))
    assert missing(grown) == {"message.phone_number", "visitor.name"}


def test_what_is_sealed_or_hashed_goes_with_a_term():
    for table, rows in register.REGISTER.items():
        for holds in rows:
            for name in holds.columns.split():
                if name == "sealed" or name in {"addressee_hash", "address_hash", "wrapped_key"}:
                    assert holds.kind in set(Kind), f"{table}.{name}"


def test_the_page_is_that_of_the_source():
    assert PAGE.read_text("utf-8") == register.page(), "python -m bode.store.register > docs/privacy.md"
