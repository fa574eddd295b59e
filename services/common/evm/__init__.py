"""What all EVM chains agree on: addresses, hashes, signatures and transactions."""
