"""The first credits of accounts that people open by themselves."""

from __future__ import annotations

from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.console.mesh import Mesh
from services.console.sessions import Sessions

log = get_logger()

# How long what an account has missed at its opening is made up for, in seconds: who turns first credits on later does
# not give them to everybody who was there before.
_LATELY = 7 * 86_400.0


class Welcome:
    """Gives a new account its first credits, once; `amount` is how many, 0 for none.

    A passkey or a wallet opens an account in one step of auth. If the console or billing is away directly afterwards,
    the account has no credits, and nobody can open another one with the same wallet. So signing in makes up for it.
    """

    def __init__(self, mesh: Mesh, sessions: Sessions, amount: int, clock: Clock) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._amount = amount
        self._clock = clock

    async def give(self, account_id: str) -> None:
        """Gives them to an account that is being opened; raises MeshError."""
        if self._amount:
            await self._mesh.grant_welcome(account_id, self._amount)

    async def make_up(self, session_token: str) -> None:
        """Gives them to the account of a session that begins, unless it has them; what fails, the next session does."""
        if not self._amount:
            return
        try:
            session = await self._sessions.get(session_token)
            key = await self._mesh.key(session.account_id, session.key_id)
            # Only what has opened an account has a key that neither another key nor an operator has made.
            opened_lately = key.created_at_ms > to_ms(self._clock() - _LATELY)
            if opened_lately and not key.created_by:
                await self.give(session.account_id)
        except MeshError as error:
            # After a change of the amount, the account may have had another one.
            if error.code is not Code.CONFLICT:
                log.warning("welcome_delayed", reason=error.message)
