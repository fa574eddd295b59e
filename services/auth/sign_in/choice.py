"""Chooses whether there are passkeys and wallets: the libraries that check them are extras."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.challenge import Challenges
from services.auth.sign_in.enrolment import Enrolment
from services.auth.sign_in.passkey import NoteUse, PasskeyStore
from services.auth.sign_in.wallet import WalletStore
from services.auth.sign_in.wallets import Wallets
from services.common.ethereum import signatures

if TYPE_CHECKING:
    # Importing it needs the extra.
    from services.auth.sign_in.passkeys import Passkeys

LIBRARY = "fido2"

FindPasskeys = Callable[[], "Awaitable[Passkeys]"]


def open_passkeys(
    store: PasskeyStore, challenges: Challenges, sessions: Sessions, enrolment: Enrolment, note_use: NoteUse
) -> FindPasskeys | None:
    """Returns where to find what does the work of passkeys; None if the extra is not installed.

    The library takes 10 MB, which a process does without until somebody asks for a passkey.
    """
    if find_spec(LIBRARY) is None:
        return None
    found: Passkeys | None = None

    def load() -> Passkeys:
        from services.auth.sign_in.passkeys import Passkeys

        return Passkeys(store, challenges, sessions, enrolment, note_use)

    async def find() -> Passkeys:
        nonlocal found
        if found is None:
            # It is long enough to be noticed by whom the event loop answers meanwhile.
            loaded = await asyncio.to_thread(load)
            found = found or loaded
        return found

    return find


def open_wallets(
    store: WalletStore, challenges: Challenges, sessions: Sessions, enrolment: Enrolment, note_use: NoteUse
) -> Wallets | None:
    """Returns what does the work of wallets; None if the extra is not installed."""
    return Wallets(store, challenges, sessions, enrolment, note_use) if signatures.installed() else None
