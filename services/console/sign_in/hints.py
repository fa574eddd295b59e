"""What auth calls the keys without a secret, on which passkeys and recovery codes stand (ApiKey.hint)."""

from __future__ import annotations

PASSKEY_HINT = "passkey"
RECOVERY_CODE_HINT = "recovery code"
WITHOUT_SECRET = (PASSKEY_HINT, RECOVERY_CODE_HINT)
