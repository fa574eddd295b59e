"""Reads the bodies of requests within bounds of size, memory, time and content."""
