"""Receipts as the settings ask for them. What signs is loaded only if there is a key to sign with."""

from __future__ import annotations

from services.common.clock import Clock
from services.common.extras import how_to_install
from services.common.settings import SettingsError
from services.edge.receipts.issuing import ReceiptIssuer
from services.edge.settings import EdgeSettings


def receipt_issuer(settings: EdgeSettings, clock: Clock) -> ReceiptIssuer | None:
    """Returns what issues receipts, None if there are no keys; raises SettingsError for keys that cannot be used."""
    if not settings.receipt_keys:
        return None
    try:
        from services.common.receipts.signing import ReceiptSigner
        from services.common.receipts.signing_keys import SigningKeysError, read_signing_keys
    except ImportError as error:
        raise SettingsError(f"TIERMESH_EDGE_RECEIPT_KEYS needs packages: {how_to_install('receipts')}") from error
    try:
        signer = ReceiptSigner(read_signing_keys(settings.receipt_keys))
    except SigningKeysError as error:
        raise SettingsError(f"TIERMESH_EDGE_RECEIPT_KEYS is wrong: {error}") from None
    return ReceiptIssuer(signer.sign, signer.key_set, clock)
