"""Runs the JavaScript samples of tests/e2e/javascript with the Node that comes as a wheel."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

# Where their packages are installed.
JAVASCRIPT = Path(__file__).parents[1] / "e2e" / "javascript"
_SECONDS = 100.0


def run_sample(name: str, mesh: LocalMesh, *, model: str = "tiermesh-pro", **environ: str) -> Any:
    """Runs a sample against a mesh, as its own process, and returns the JSON that it prints; it must not fail.

    Samples read BASE_URL, API_KEY and MODEL, and whatever else is given, from their environment.
    """
    settings = {"BASE_URL": mesh.base_url, "API_KEY": mesh.unlimited_key, "MODEL": model, **environ}
    done = subprocess.run(
        [programs.node(), JAVASCRIPT / "samples" / f"{name}.js"],
        capture_output=True,
        text=True,
        timeout=stretched(_SECONDS),
        env={**os.environ, **settings},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
