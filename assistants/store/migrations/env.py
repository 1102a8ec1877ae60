"""What Alembic runs: the migrations, on the connection it was given."""

from alembic import context

from lockstitch.assistants.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=False,  # the caller's transaction is the transaction
)
context.run_migrations()
