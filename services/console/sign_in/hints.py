"""What auth calls the keys without a secret, on which passkeys, wallets and recovery codes stand (ApiKey.hint)."""

from __future__ import annotations

PASSKEY_HINT = "passkey"
WALLET_HINT = "wallet"
RECOVERY_CODE_HINT = "recovery code"
WITHOUT_SECRET = (PASSKEY_HINT, WALLET_HINT, RECOVERY_CODE_HINT)
