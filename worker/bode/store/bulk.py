"""Many rows in one statement: a morning's work is written by the chunk, and what a chunk costs is its statements.

PostgreSQL gets each column as one array, so that the statement is the same for any number of rows and stays prepared;
SQLite, in the same process, runs its statement once per row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

_Value = TypeVar("_Value")

FEW = 4
"""So many rows are written as rows: arrays cost more than they save."""


def among(
    connection: AsyncConnection, column: sa.ColumnElement[_Value], values: Collection[_Value]
) -> sa.ColumnElement[bool]:
    """Give the condition that a column has one of these values."""
    if connection.dialect.name != "postgresql":
        return column.in_(values)
    return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))


def pairs_among(
    connection: AsyncConnection,
    columns: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]],
    pairs: Collection[tuple[Any, Any]],
) -> sa.ColumnElement[bool]:
    """Give the condition that two columns have together one of these pairs of values."""
    if connection.dialect.name != "postgresql":
        return sa.tuple_(*columns).in_(pairs)
    arrays = [sa.literal([pair[at] for pair in pairs], ARRAY(column.type)) for at, column in enumerate(columns)]
    wanted = sa.func.unnest(*arrays).table_valued("one", "other").render_derived(name="wanted")
    return sa.tuple_(*columns).in_(sa.select(wanted.c.one, wanted.c.other))


async def insert(connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows that have the same columns, in this order; none is fine. Columns left out get their default."""
    if not rows:
        return
    if connection.dialect.name != "postgresql" or len(rows) <= FEW:
        await connection.execute(sa.insert(table), list(rows))
        return
    names = tuple(rows[0])
    await connection.execute(_insert_arrays(table, names), {name: [row[name] for row in rows] for name in names})


async def update(connection: AsyncConnection, table: sa.Table, key: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Change the rows of a table whose `key` column has the value given with each; all have the same columns."""
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql" and len(rows) > FEW:
        arrays = {f"{name}_": [row[name] for row in rows] for name in names}
        await connection.execute(_update_arrays(table, key, names), arrays)
        return
    changed: dict[str, Any] = {name: sa.bindparam(f"{name}_") for name in names if name != key}
    statement = sa.update(table).where(table.c[key] == sa.bindparam(f"{key}_")).values(changed)
    await connection.execute(statement, [{f"{name}_": row[name] for name in names} for row in rows])


@lru_cache(maxsize=64)
def _insert_arrays(table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    rows = _rows(table, names, "")
    return sa.insert(table).from_select(list(names), sa.select(*(rows.c[name] for name in names)))


@lru_cache(maxsize=64)
def _update_arrays(table: sa.Table, key: str, names: tuple[str, ...]) -> sa.Update:
    # An update's own columns have names of parameters already: ours get a sign behind theirs.
    rows = _rows(table, names, "_")
    changed = {name: rows.c[name] for name in names if name != key}
    return sa.update(table).where(table.c[key] == rows.c[key]).values(changed)


def _rows(table: sa.Table, names: Sequence[str], sign: str) -> sa.TableValuedAlias:
    arrays = [sa.bindparam(f"{name}{sign}", type_=ARRAY(table.c[name].type)) for name in names]
    columns = [sa.column(name, table.c[name].type) for name in names]
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
