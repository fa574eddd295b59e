"""Two checkouts of this repository, measured in turn on one noisy machine."""
