"""Many meshes on a virtual clock, each hurt as its seed says, until one of them breaks its word."""
