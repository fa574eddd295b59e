"""Generates the `tiermesh` package (messages, gRPC stubs and their types) from protos/ into the checkout's root.

Run by `make protos` and by the package build; the output is never edited and never committed.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "protos"
OUTPUT = ROOT / "tiermesh"
# What writes the types: protoc's name of each plugin, and the function of mypy_protobuf.main that it runs.
PLUGINS = {"mypy": "main", "mypy_grpc": "grpc"}


def generate() -> None:
    """Replaces the generated package; raises SystemExit with protoc's status if a proto is wrong."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    arguments = ["protoc", f"-I{SOURCES}", f"--python_out={ROOT}", f"--grpc_python_out={ROOT}"]
    with TemporaryDirectory(prefix="tiermesh-protoc-") as folder:
        for name, function in PLUGINS.items():
            plugin = write_plugin(Path(folder) / f"protoc-gen-{name}", function)
            arguments += [f"--plugin={plugin}", f"--{name}_out=quiet:{ROOT}"]
        status = protoc.main([*arguments, *map(str, sorted(SOURCES.rglob("*.proto")))])
    if status != 0:
        raise SystemExit(status)


def write_plugin(path: Path, function: str) -> Path:
    """Writes a program that runs a plugin by this Python, which need not have any programs of its packages."""
    code = f"from mypy_protobuf.main import {function}; {function}()"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}'\n")
    path.chmod(0o700)
    return path


if __name__ == "__main__":
    generate()
