"""How a token's functions are called, and where the test token of a local chain is."""

from __future__ import annotations

# The first four bytes of the hash of each signature.
SELECTORS = {
    "name()": "06fdde03",
    "version()": "54fd4d50",
    "mint(address,uint256)": "40c10f19",
    "balanceOf(address)": "70a08231",
    "authorizationState(address,bytes32)": "e94a0102",
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)": "e3ee160e",
}


def call_data(signature: str, *words: int) -> str:
    """Returns the data of a call of one of SELECTORS, whose arguments are one word each."""
    return f"0x{SELECTORS[signature]}{encode_words(*words)}"


def encode_words(*values: int) -> str:
    """Returns numbers as contracts take them."""
    return "".join(f"{value:064x}" for value in values)


def encode_string(text: str) -> str:
    """Returns a string of at most 32 ASCII characters as contracts take it."""
    return encode_words(len(text)) + text.encode("ascii").hex().ljust(64, "0")


def decode_string(encoded: str) -> str:
    """Returns a string as contracts return it; raises ValueError if it is none."""
    data = bytes.fromhex(encoded.removeprefix("0x"))
    return data[64 : 64 + int.from_bytes(data[32:64], "big")].decode()
