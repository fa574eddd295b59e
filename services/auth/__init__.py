"""The auth service answers "who is this": accounts, API keys and their rate limits."""
