"""Engines: one file (or subpackage) each, behind the `Engine` protocol of `base`."""
