"""Edge, payments and billing, which die when they come to a point that a file names: between any two writes."""
