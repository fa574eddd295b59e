"""Mistakes planted in the services, to prove that the search finds them. Nothing else may import them."""
