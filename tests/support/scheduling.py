"""Which tests one process runs, when several run tests at the same time."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Their files share a mesh, those of the first a browser too, and those of the last a chain. Of folders in folders, the
# innermost counts.
TOGETHER = ("tests/integration/console/browser/", "tests/integration/console/", "tests/integration/x402/")
# Files that share a mesh with real models, by the fixture that starts it. Each process that runs some of them starts up
# to ten others, which load five models. A file that uses two meshes is with the first, and so are all that use the mesh
# that paints.
SHARED: dict[str, tuple[str, ...]] = {
    "sample_mesh": (
        "tests/e2e/test_agents_sdk.py",
        "tests/e2e/test_images.py",
        "tests/e2e/test_javascript.py",
        "tests/e2e/test_langchain.py",
        "tests/e2e/test_samples.py",
        "tests/e2e/test_vision.py",
    ),
    "real_mesh": (
        "tests/e2e/test_anthropic_models.py",
        "tests/e2e/test_audio_lists.py",
        "tests/e2e/test_chat.py",
        "tests/e2e/test_completions.py",
        "tests/e2e/test_discovery.py",
        "tests/e2e/test_embeddings.py",
        "tests/e2e/test_errors.py",
        "tests/e2e/test_messages.py",
        "tests/e2e/test_reasoning.py",
        "tests/e2e/test_responses.py",
        "tests/e2e/test_speech.py",
        "tests/e2e/test_structured_output.py",
        "tests/e2e/test_token_counts.py",
        "tests/e2e/test_tools.py",
        "tests/e2e/test_transcription.py",
        "tests/e2e/test_upstream_kinds.py",
    ),
}
_SHARED_BY = {file: fixture for fixture, files in SHARED.items() for file in files}


def is_long(nodeid: str) -> bool:
    """Returns whether a test is one of many that one process runs."""
    return nodeid.startswith(TOGETHER) or nodeid.partition("::")[0] in _SHARED_BY


class ByFileOrFolder(LoadFileScheduling):  # type: ignore[misc]  # Its package publishes no types.
    """Those of a file, of all files of a folder that is named here, or of all files that share a mesh."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), _SHARED_BY.get(file, file))
