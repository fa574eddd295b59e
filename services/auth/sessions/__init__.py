"""Sessions of the console: who is signed in, for how long, and by which key."""
