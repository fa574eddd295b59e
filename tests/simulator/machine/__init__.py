"""What stands for a machine: an event loop on a virtual clock, a network, and a database."""
