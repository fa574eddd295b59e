"""Looks a running installation over and says what is wrong, one line each, with what would help."""
