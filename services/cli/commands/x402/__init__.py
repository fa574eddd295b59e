"""Commands about wallets that pay for single requests: `tiermesh x402 …`."""
