"""A mesh under steady load for a long time, to show that nothing grows, fails or is charged wrongly."""
