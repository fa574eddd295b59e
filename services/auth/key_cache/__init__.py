"""Every key in memory, so that no request waits for the database."""

from services.auth.key_cache.cache import KeyCache
from services.auth.key_cache.credential import Credential

__all__ = ["Credential", "KeyCache"]
