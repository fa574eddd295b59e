"""Commands about what arrives from a chain: `tiermesh deposits …` and `tiermesh faucet`."""
