"""Runs the migrations on the connection that `service.store.migrate` passes in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
