"""What tiermesh claims about speed, reproducible: `make bench`."""
