"""Where Alembic enters."""

from services.common.migrations import run_in_alembic

run_in_alembic()
