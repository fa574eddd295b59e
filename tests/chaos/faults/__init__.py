"""What can go wrong in a run: the faults, how a plan deals them, and what suffers them."""
