"""Giving back what wallets have paid and not spent: planned beside the mesh, signed offline, sent by anybody."""
