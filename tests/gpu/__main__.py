"""`python -m tests.gpu prepare|test`: run by the Python that has torch; imports nothing but the standard library."""

from __future__ import annotations

import sys

from tests.gpu.launch import launch, options_parser


def main() -> int:
    """Returns the exit status: 0 if everything that was run passed."""
    parser = options_parser("python -m tests.gpu", __doc__)
    parser.add_argument("command", choices=["prepare", "test"])
    options = parser.parse_args()
    return launch(options, "tests.gpu.run" if options.command == "test" else None)


if __name__ == "__main__":
    sys.exit(main())
