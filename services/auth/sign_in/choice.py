"""Chooses whether there are passkeys and wallets: the libraries that check them are extras."""

from __future__ import annotations

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


def open_passkeys(
    store: PasskeyStore, challenges: Challenges, sessions: Sessions, enrolment: Enrolment, note_use: NoteUse
) -> Passkeys | None:
    """Returns what does the work of passkeys; None if the extra is not installed."""
    if find_spec(LIBRARY) is None:
        return None
    from services.auth.sign_in.passkeys import Passkeys

    return Passkeys(store, challenges, sessions, enrolment, note_use)


def open_wallets(
    store: WalletStore, challenges: Challenges, sessions: Sessions, enrolment: Enrolment, note_use: NoteUse
) -> Wallets | None:
    """Returns what does the work of wallets; None if the extra is not installed."""
    return Wallets(store, challenges, sessions, enrolment, note_use) if signatures.installed() else None
