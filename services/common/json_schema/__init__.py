"""JSON schemas of clients: which are taken, what an engine enforces of them, and those of arguments of functions."""
