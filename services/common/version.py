"""The version of this software."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("tiermesh")
except PackageNotFoundError:  # The checkout is used without being installed.
    VERSION = "0+unknown"
