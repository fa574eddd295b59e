"""What wallets pay for single requests: the payments, and their gRPC face."""
