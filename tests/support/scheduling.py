"""Which tests one process runs, when several run tests at the same time."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Their files share a mesh, those of the first a browser too, and those of the last a chain. Of folders in folders, the
# innermost counts.
TOGETHER = ("tests/integration/console/browser/", "tests/integration/console/", "tests/integration/x402/")


class ByFileOrFolder(LoadFileScheduling):  # type: ignore[misc]  # Its package publishes no types.
    """Those of a file, or of all files of a folder that is named here."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)
