"""What a request costs when there are many runners."""
