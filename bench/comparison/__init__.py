"""Two checkouts of this repository, or two interpreters, measured in turn on one noisy machine."""
