"""The work that is not text: for each kind its job, its steps, and the reader of its calls."""
