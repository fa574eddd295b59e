"""Where what is to be checked comes from: files, the standard input, and the API for its keys."""

from __future__ import annotations

import sys
from pathlib import Path

from services.cli.errors import CliError

STANDARD_INPUT = "-"
# Where a service publishes its keys, after the address or the base URL of its API.
KEYS_PATH = "/.well-known/jwks.json"
_TIMEOUT_SECONDS = 10.0
# Far more than any set of keys has.
_MOST_BYTES = 1024 * 1024


def read_source(name: str) -> bytes:
    """Returns the content of a file, or of the standard input for `-`; raises CliError."""
    if name == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CliError(f"Cannot read {name}: {error.strerror}. Name a file that you can read.") from error


async def read_keys_source(name: str) -> bytes:
    """Returns the content of a file or of an http: or https: URL; raises CliError."""
    if not name.startswith(("http://", "https://")):
        return read_source(name)
    # It takes longer to import than most commands run.
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(name) as response:
            if response.status != 200:
                raise CliError(
                    f"{name} answers with status {response.status}. "
                    f"Give the URL of the keys, which ends in {KEYS_PATH}."
                )
            return await response.content.read(_MOST_BYTES)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CliError(
            f"The keys cannot be fetched from {name} ({type(error).__name__}). "
            "Check the URL, or save the keys in a file."
        ) from error
