"""Making keys and taking them back: what a new key may do, and who may revoke which."""
