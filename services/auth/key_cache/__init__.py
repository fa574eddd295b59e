"""Keys in memory, so that no request waits for the database as long as there are not too many."""

from services.auth.key_cache.cache import NOTHING, KeyCache, NotInMemory, Reads
from services.auth.key_cache.credential import Credential
from services.auth.key_cache.lookup import KeyLookup

__all__ = ["NOTHING", "Credential", "KeyCache", "KeyLookup", "NotInMemory", "Reads"]
