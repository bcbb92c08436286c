"""Runs migrations on the connection that `Database` gives, or writes their statements down."""

from alembic import context

from bode.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, literal_binds=context.is_offline_mode()
)
with context.begin_transaction():
    context.run_migrations()
