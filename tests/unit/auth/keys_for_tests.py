"""Keys as tests need them."""

from __future__ import annotations

from services.auth.keys import ApiKey, digest_of, hint_of


def api_key(secret: str = "sk-tiermesh-abcdefgh", **fields: str | int | tuple[object, ...]) -> ApiKey:
    """A key of account acct_1 without a limit, with any field as the test wants it."""
    values: dict[str, str | int | tuple[object, ...]] = {
        "id": "key_1",
        "account_id": "acct_1",
        "name": "a key",
        "requests_per_minute": 0,
        "created_at_ms": 1,
        **fields,
    }
    return ApiKey(hint=hint_of(secret), digest=digest_of(secret), **values)  # type: ignore[arg-type]  # Tests name fields that exist.
