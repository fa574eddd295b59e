"""Chooses whether there are passkeys: the library that checks them is an extra."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from services.auth.accounts import AccountStore
from services.auth.issuing.issuer import KeyIssuer
from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.challenge import Challenges
from services.auth.sign_in.passkey import NoteUse, PasskeyStore

if TYPE_CHECKING:
    # Importing it needs the extra.
    from services.auth.sign_in.passkeys import Passkeys

LIBRARY = "fido2"


def open_passkeys(
    store: PasskeyStore,
    accounts: AccountStore,
    challenges: Challenges,
    issuer: KeyIssuer,
    sessions: Sessions,
    note_use: NoteUse,
) -> Passkeys | None:
    """Returns what does the work of passkeys; None if the extra is not installed."""
    if find_spec(LIBRARY) is None:
        return None
    from services.auth.sign_in.passkeys import Passkeys

    return Passkeys(store, accounts, challenges, issuer, sessions, note_use)
