"""What the servers of HTTP share."""
