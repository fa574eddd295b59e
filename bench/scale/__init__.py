"""What grows when there is much of something: runners, keys, streams."""
