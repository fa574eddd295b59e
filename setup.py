"""Generates the protobuf package before setuptools looks for packages; everything else is in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import setup

runpy.run_path(str(Path(__file__).parent / "protos" / "generate.py"), run_name="__main__")
setup()
