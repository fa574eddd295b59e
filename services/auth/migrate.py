"""`python -m services.auth.migrate` brings the database of accounts and keys to the newest schema."""

from __future__ import annotations

import sys

from services.auth.settings import AuthSettings
from services.auth.store.store import MIGRATIONS
from services.common.database import migrations
from services.common.settings import SettingsError, load_settings


def main() -> None:
    """Migrates the database that the settings name."""
    try:
        settings = load_settings(AuthSettings, "auth")
    except SettingsError as error:
        sys.exit(f"cannot migrate: {error}")
    migrations.main(settings.database_url, MIGRATIONS)


if __name__ == "__main__":
    main()
