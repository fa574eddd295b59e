"""Ways to sign in to the console without an API key: passkeys and recovery codes."""
