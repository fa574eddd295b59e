"""What payments asks of a node of an EVM chain, by JSON-RPC."""
