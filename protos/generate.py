"""Generates the `tiermesh` package (messages, gRPC stubs and their types) from protos/ into the checkout's root.

Run by `make protos` and by the package build; the output is never edited and never committed.
"""

import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "protos"
OUTPUT = ROOT / "tiermesh"


def generate() -> None:
    """Replaces the generated package; raises SystemExit with protoc's status if a proto is wrong."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    arguments = ["protoc", f"-I{SOURCES}", f"--python_out={ROOT}", f"--grpc_python_out={ROOT}"]
    # Only a development environment has the plugin that writes type stubs.
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    if plugin.exists():
        arguments += [f"--plugin={plugin}", f"--plugin={plugin}_grpc"]
        arguments += [f"--mypy_out=quiet:{ROOT}", f"--mypy_grpc_out=quiet:{ROOT}"]
    status = protoc.main([*arguments, *map(str, sorted(SOURCES.rglob("*.proto")))])
    if status != 0:
        raise SystemExit(status)


if __name__ == "__main__":
    generate()
