"""The router: decides which runner serves a request, from a live table of all runners."""
