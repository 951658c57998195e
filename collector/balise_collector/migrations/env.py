"""How does Alembic reach the database? By the connection that `upgrade` hands it, in its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
