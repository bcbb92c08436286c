"""Rights on PostgreSQL: a role that works with Bode's tables, and can only read evidence and add to it.

The triggers refuse changes to whoever is not careful; a role that does not own the tables cannot take them away.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from bode.store import tables
from bode.store.database import Database

_EVIDENCE = {
    "event": "SELECT, INSERT",
    "event_detail": "SELECT, INSERT, DELETE",  # the trigger asks for an event detail.shredded first
    "event_pending": "SELECT, INSERT, DELETE",  # the trigger asks for a leaf first
    "evidence_leaf": "SELECT, INSERT",
    "evidence_tile": "SELECT, INSERT",
    "evidence_checkpoint": "SELECT, INSERT",
    "evidence_attestation": "SELECT, INSERT",
    "staff_act": "SELECT, INSERT, DELETE",  # the trigger asks for an act audit_purged, half a year later, first
}
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class HardenError(Exception):
    """A role that cannot be bound to adding only; says why, and what to do."""


def hardening(role: str) -> list[str]:
    """Give the statements that bind a role. Raises `HardenError` for what is no plain role name."""
    if not _ROLE.fullmatch(role):
        raise HardenError(f"{role!r} is no plain role name: lower case letters, digits and _, at most 63")
    others = sorted(tables.metadata.tables.keys() - _EVIDENCE.keys())
    return [
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"REVOKE CREATE ON SCHEMA public FROM {role}, PUBLIC",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}, PUBLIC",
        *(f"GRANT {rights} ON {table} TO {role}" for table, rights in _EVIDENCE.items()),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(others)} TO {role}",
        f"GRANT SELECT ON alembic_version TO {role}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ]


async def harden(database: Database, role: str) -> None:
    """Bind a role, in one transaction. Raises `HardenError` where rights would not bind it."""
    statements = hardening(role)
    async with database.write() as connection:
        found = (
            await connection.execute(
                sa.text(
                    "SELECT rolsuper, rolname = current_user AS me, EXISTS (SELECT FROM pg_class JOIN pg_namespace "
                    "ON pg_namespace.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r' "
                    "AND pg_has_role(pg_roles.oid, relowner, 'MEMBER')) AS owns FROM pg_roles WHERE rolname = :role"
                ),
                {"role": role},
            )
        ).one_or_none()
        if found is None:
            raise HardenError(f"there is no role {role!r}: make it first (CREATE ROLE {role} LOGIN)")
        if found.rolsuper or found.owns or found.me:
            what = "is a superuser" if found.rolsuper else "owns the tables, or can become their owner"
            raise HardenError(f"role {role!r} {what}: rights do not bind it. Let Bode run as a role of its own")
        for statement in statements:
            await connection.execute(sa.text(statement))
