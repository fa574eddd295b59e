"""The web console: pages on which the owners of accounts make keys and see what they have spent."""
