"""HTTP as all endpoints share it: the server, bodies, errors and event streams."""
