"""Alembic's entry point: runs the revisions on the URL that the caller set."""

from alembic import context

from bot.store.database import connect

url = context.config.get_main_option("sqlalchemy.url")
if url is None:
    raise SystemExit("no database URL")
engine = connect(url)
try:
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
finally:
    engine.dispose()
