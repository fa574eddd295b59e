"""How many keys an account may make by itself."""

from __future__ import annotations

from dataclasses import dataclass

from services.auth.issuing.key_store import Standing
from services.common.errors import Code, MeshError


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """The most keys of an account that work, and that do not work any more but are still kept."""

    living: int = 1000
    dead: int = 5000

    def check(self, standing: Standing) -> None:
        """Raises MeshError CONFLICT if the account may have no further key."""
        if standing.living >= self.living:
            message = f"The account has {self.living} working keys, the most allowed; revoke one first."
            raise MeshError(Code.CONFLICT, message)
        if standing.dead >= self.dead:
            message = (
                f"The account has {self.dead} revoked and expired keys, the most allowed. They are forgotten after a "
                "while; until then the operator of this service can make keys."
            )
            raise MeshError(Code.CONFLICT, message)
