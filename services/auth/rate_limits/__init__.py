"""Rate limits of keys: counted in memory by one replica, or in Redis by all of them."""
