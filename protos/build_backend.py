"""The package's build backend (PEP 517): setuptools, which finds the protobuf package already generated.

pyproject.toml names it; everything else about the build is there too.
"""

from __future__ import annotations

from typing import Any

from generate import generate
from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def build_wheel(*arguments: Any, **options: Any) -> str:
    """Returns the name of the wheel that was made; the arguments are setuptools'."""
    generate()
    return build_meta.build_wheel(*arguments, **options)


def build_editable(*arguments: Any, **options: Any) -> str:
    """Returns the name of the wheel that was made; the arguments are setuptools'."""
    generate()
    return build_meta.build_editable(*arguments, **options)
