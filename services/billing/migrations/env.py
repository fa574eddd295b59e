"""Where Alembic enters."""

from services.common.database.migrations import run_in_alembic

run_in_alembic()
