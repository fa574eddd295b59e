"""`python -m bench.gpu`: run by the Python that has torch; imports nothing but the standard library."""

from __future__ import annotations

import sys

from tests.gpu.launch import launch, options_parser


def main() -> int:
    """Returns the exit status: 0 if everything that was run passed."""
    return launch(options_parser("python -m bench.gpu", __doc__).parse_args(), "bench.gpu.run")


if __name__ == "__main__":
    sys.exit(main())
