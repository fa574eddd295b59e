"""Fetches models from Hugging Face with its own library: with a progress bar, resumed after a break, and checked.

The library's own cache is looked at, but not written: it begins a file again if the process that fetched it has ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.errors import CliError
from services.cli.models.fitting import RESERVE, WORK, gib
from services.cli.models.hub_model import HubModel
from services.common.extras import how_to_install

try:
    import httpx2
    from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # it is exported when it is used
except ImportError as error:
    raise CliError(f"Models of Hugging Face need a package that is missing: {how_to_install('hub')}.") from error

_CHUNK = 1 << 20
_LATER = "Start again later: what has come is kept."


@dataclass(frozen=True)
class _File:
    """A file of a repository as it is now."""

    name: str
    # The commit, so that all that is asked of it is about the same file.
    revision: str
    size: int
    # In hexadecimal digits; empty for a file that is not in the store for large files.
    sha256: str


class Hub:
    """Hugging Face, or what HF_ENDPOINT names; `say` tells people what takes time."""

    def __init__(self, say: Callable[[str], None], endpoint: str = "") -> None:
        self._say = say
        self._endpoint = endpoint or constants.ENDPOINT

    def fetch(self, model: HubModel, folder: Path, memory: int) -> Path:
        """Returns the model's file, which is kept in `folder` if it has to be fetched; raises CliError.

        `memory` is what the machine has, in bytes.
        """
        with self._translated(model):
            file = self._find(model)
            known = try_to_load_from_cache(model.id, file.name, revision=file.revision)
            if isinstance(known, str):
                return Path(known)
            needed = file.size + RESERVE + WORK
            if needed > memory:
                raise CliError(
                    f"{file.name} of {model.id} needs {gib(needed)} of memory, and this machine has {gib(memory)}. "
                    "Choose a smaller model, or a file with fewer bits per weight."
                )
            return self._download(model, file, folder)

    def _find(self, model: HubModel) -> _File:
        info = HfApi(endpoint=self._endpoint).model_info(model.id, files_metadata=True)
        files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        chosen = files[model.choose(files)]
        return _File(
            name=chosen.rfilename,
            revision=info.sha or constants.DEFAULT_REVISION,
            size=chosen.size or 0,
            sha256=chosen.lfs.sha256 if chosen.lfs else "",
        )

    def _download(self, model: HubModel, file: _File, folder: Path) -> Path:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Named by its content, so that a file that has changed meanwhile is not continued.
        part = target.with_name(f"{target.name}.{file.sha256[:16] or file.revision[:16]}.part")
        for other in target.parent.glob(f"{target.name}.*.part"):
            if other != part:
                other.unlink()
        with part.open("ab") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CliError(f"Another process fetches {file.name} of {model.id}. Wait until it has ended.") from None
            if opened.tell() > file.size:
                opened.truncate(0)
            begun = opened.seek(0, os.SEEK_END)
            free = shutil.disk_usage(folder).free
            if file.size - begun > free:
                raise CliError(f"{file.name} needs {gib(file.size - begun)} in {folder}, and {gib(free)} are free.")
            self._say(f"{'continuing' if begun else 'fetching'} {file.name} of {model.id} into {folder}")
            http_get(
                hf_hub_url(model.id, file.name, revision=file.revision, endpoint=self._endpoint),
                opened,
                resume_size=begun,
                headers=build_hf_headers(),
                expected_size=file.size or None,
                displayed_filename=file.name,
            )
            opened.flush()
            os.fsync(opened.fileno())
            if file.sha256 and _sha256(part) != file.sha256:
                part.unlink()
                raise CliError(f"{file.name} of {model.id} came damaged, and was deleted. Start again to fetch it.")
            part.rename(target)
        return target

    @contextmanager
    def _translated(self, model: HubModel) -> Iterator[None]:
        """Has each way in which the library fails end in one line."""
        try:
            yield
        except HFValidationError as error:
            raise CliError(f"{model.id} is no name of a repository on Hugging Face. Correct it.") from error
        except GatedRepoError as error:
            raise CliError(
                f"{model.id} is gated: accept its terms on its page, and set HF_TOKEN to a token of your account."
            ) from error
        except RepositoryNotFoundError as error:
            raise CliError(
                f"There is no repository {model.id}, or it is private: correct the name, or set HF_TOKEN."
            ) from error
        except OfflineModeIsEnabled as error:
            raise CliError(
                f"{model.id} has not been fetched before, and HF_HUB_OFFLINE forbids it. Unset it."
            ) from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            raise CliError(f"{self._endpoint} answered {status} for {model.id}. {_LATER}") from error
        except httpx2.HTTPError as error:
            raise CliError(f"{self._endpoint} cannot be reached ({type(error).__name__}). {_LATER}") from error
        except OSError as error:
            reason = (error.strerror or str(error)).partition("\n")[0]
            raise CliError(f"{model.id} cannot be fetched: {reason}. {_LATER}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
