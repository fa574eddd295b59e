"""What keeps the engine from starting."""

from __future__ import annotations

from services.common.settings import SettingsError


class ModelError(SettingsError):
    """A model that cannot be served right; the message says what to change."""
