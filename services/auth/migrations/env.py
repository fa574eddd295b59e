"""Alembic runs this file; what it does is the same for every service."""

from services.common.database.migrations import run_in_alembic

run_in_alembic()
