"""The real kubectl, for what it does without a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support import programs

ROOT = Path(__file__).resolve().parents[2]


class KubectlError(Exception):
    """kubectl refused; the message is what it said."""


def kubectl(*arguments: str) -> str:
    """Returns what kubectl prints when it runs in the root of the checkout; raises KubectlError."""
    # The cluster that a developer's configuration names is none of the tests' business.
    environment = os.environ | {"KUBECONFIG": os.devnull}
    command = [str(programs.kubectl()), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KubectlError(done.stderr.strip())
    return done.stdout
