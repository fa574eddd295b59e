"""The operators' console: a process of its own, with another certificate, for those who run the mesh."""
