"""What people call a chain."""

from __future__ import annotations

# By their numbers (EIP-155).
_NAMES = {
    1: "Ethereum",
    10: "OP Mainnet",
    137: "Polygon",
    8453: "Base",
    31337: "a test chain",
    42161: "Arbitrum One",
    84532: "Base Sepolia",
    11155111: "Sepolia",
}


def name_of_chain(chain_id: int) -> str:
    """Returns the usual name of a chain; its number if it is not among the best known."""
    return _NAMES.get(chain_id, f"chain {chain_id}")
