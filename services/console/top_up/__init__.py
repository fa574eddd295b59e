"""How credits come to an account: deposits from a chain, where the operator takes them, and grants."""
