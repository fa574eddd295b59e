"""What a server says of itself when it is asked at the start."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from services.common.catalog import Kind
from services.common.model_file import Thinking
from services.common.settings import SettingsError
from services.runner.engines.base import NotReadyError
from services.runner.engines.upstream.bounded import TooLargeError, read_whole
from services.runner.engines.upstream.listed import WORDS, Entry, names_of, number_of, task_of
from services.runner.engines.upstream.quirks import KINDS, UNKNOWN, Quirks, quirks_of
from services.runner.engines.upstream.told import Told
from services.runner.kinds.text.prompt.template import ChatTemplate

_SECONDS = 10.0
_LARGEST = 16 << 20
# Where servers write how many tokens a conversation may have.
_CONTEXTS = ("max_model_len", "context_length", "loaded_context_length", "max_context_length", "n_ctx")


# The answers of a server, or of what stands before it, while it loads its model.
LOADING = {502, 503, 504}
_OTHER = "choose another one, or the kind that it has (TIERMESH_RUNNER_UPSTREAM_KIND, or --kind)"


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Voices(msgspec.Struct):
    voices: list[Any]


@dataclass(frozen=True, slots=True)
class UpstreamServer:
    """A server, and the model of it that is used; what it does not say is 0 or empty."""

    # With /v1.
    base_url: str
    model: str
    quirks: Quirks
    # Tokens of each conversation, and conversations at once.
    context: int = 0
    slots: int = 0
    # Whether the model sees functions, and whether it thinks, as far as that is known.
    tools: bool = True
    thinking: Thinking = "never"
    # The kind of work that the model is used for, and what the list of models says of the model.
    kind: Kind = "chat"
    entry: Entry = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The address of the server, without /v1."""
        return self.base_url.removesuffix("/v1")


def base_url(url: str) -> str:
    """Returns the base URL of a server, with /v1; raises SettingsError."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"TIERMESH_RUNNER_UPSTREAM_URL: {parts.netloc or url!r} is no URL such as http://host:8080/v1"
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else path + '/v1'}"


def headers(key: str) -> dict[str, str]:
    """Returns the headers of each request."""
    return {"Authorization": f"Bearer {key}"} if key else {}


async def find_server(
    session: aiohttp.ClientSession, url: str, model: str = "", kind: Kind | None = "chat"
) -> UpstreamServer:
    """Asks a server for its models; raises SettingsError if it cannot be used, or has not the one model.

    The model is for work of the `kind`, or if that is None, for what the server says of it. One of which the server
    says nothing is taken for a model of chats. Raises NotReadyError if nobody answers there, or if the server is not
    ready.
    """
    base = base_url(url)
    entries = await _entries(session, base, kind)
    if not entries:
        raise SettingsError(f"the server at {base} lists no model; load one there")
    if model and model not in entries:
        raise SettingsError(
            f"TIERMESH_RUNNER_UPSTREAM_MODEL: the server at {base} has no {model!r}; it has {_names(entries)}"
        )
    if not model and kind is not None:
        entries = {name: each for name, each in entries.items() if _may_be(kind, task_of(each))}
        if not entries:
            raise SettingsError(f"the server at {base} has no model for {WORDS[kind]}; {_OTHER}")
    if not model and len(entries) > 1:
        raise SettingsError(f"TIERMESH_RUNNER_UPSTREAM_MODEL: name one of the models at {base}: {_names(entries)}")
    chosen = model or next(iter(entries))
    entry = entries[chosen]
    context = next((entry[key] for key in _CONTEXTS if isinstance(entry.get(key), int)), 0)
    quirks, told = await _ask(session, base.removesuffix("/v1"), entry, chosen, kind)
    tools, thinking = _abilities(told, quirks)
    known = next((kinds for kinds in (task_of(entry), told.kinds, quirks.kinds) if kinds is not None), None)
    used: Kind = kind or (known or ("chat",))[0]
    if not _may_be(used, known):
        does = f"is for {' and '.join(WORDS[each] for each in known)}" if known else "does other work"
        raise SettingsError(f"{chosen} at {base} {does}, not for {WORDS[used]}; {_OTHER}")
    context = told.context or context
    if used == "embedding":
        # A longer context than that of the model's training is of no use to its vectors.
        context = min(context, number_of(entry, "n_ctx_train") or context)
    return UpstreamServer(base, chosen, quirks, context, told.slots, tools, thinking, used, dict(entry))


async def _entries(session: aiohttp.ClientSession, base: str, kind: Kind | None) -> dict[str, Entry]:
    """Returns what the server lists of its models, by name, and those for embeddings if they are listed elsewhere."""
    entries = _by_name(await _get(session, f"{base}/models", _Models))
    apart = quirks_of(_owner(next(iter(entries.values()), {}))).embedding.models
    if kind == "embedding" and apart:
        return _by_name(await _get(session, base.removesuffix("/v1") + apart, _Models))
    return entries


def _by_name(listed: _Models) -> dict[str, Entry]:
    return {entry["id"]: entry for entry in listed.data if isinstance(entry.get("id"), str)}


def _owner(entry: Entry) -> str:
    return str(entry.get("owned_by", ""))


def _may_be(kind: Kind, known: tuple[Kind, ...] | None) -> bool:
    """Returns whether a model can be of a kind, if those in `known` are told of it."""
    return known is None or kind in known


async def _ask(
    session: aiohttp.ClientSession, root: str, entry: Entry, model: str, kind: Kind | None
) -> tuple[Quirks, Told]:
    """Returns the kind of a server, and what it tells of a model; raises SettingsError if it keeps that to itself."""
    known = quirks_of(_owner(entry))
    if kind == "embedding" and known.embedding.models:
        # What is told is about another model.
        return known, Told()
    if known.form is not None:
        return known, (await _get(session, root + known.path, known.form)).told(model)
    for quirks in KINDS if known is UNKNOWN else ():
        if quirks.by_path:
            with suppress(SettingsError):
                told = (await _get(session, root + quirks.path, quirks.form)).told(model)
                return quirks, await _ask_more(session, root, quirks, model, told)
    return known, Told()


async def _ask_more(session: aiohttp.ClientSession, root: str, quirks: Quirks, model: str, told: Told) -> Told:
    """Returns what is told, with the kinds of work that a second place tells; old versions may not have it."""
    if quirks.also is not None:
        path, form = quirks.also
        with suppress(SettingsError):
            return msgspec.structs.replace(told, kinds=(await _get(session, root + path, form)).told(model).kinds)
    return told


async def is_there(session: aiohttp.ClientSession, server: UpstreamServer) -> bool:
    """Returns whether a server still answers as one."""
    try:
        await _get(session, f"{server.base_url}/models", _Models)
    except SettingsError:
        return False
    return True


def _abilities(told: Told, quirks: Quirks) -> tuple[bool, Thinking]:
    """Returns whether a chat template shows functions, and whether its model thinks."""
    if not told.chat_template:
        # The server renders one that it does not tell.
        return True, "always" if told.thinks else "never"
    try:
        template = ChatTemplate(told.chat_template)
    except ValueError:
        # The server renders it, and may know more of it.
        return True, "never"
    if template.hybrid and quirks.template_variables:
        return template.shows_tools, "optional"
    return template.shows_tools, "always" if template.thinks else "never"


async def _get(session: aiohttp.ClientSession, url: str, kind: Any) -> Any:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=_SECONDS), allow_redirects=False) as response:
            content = await read_whole(response, _LARGEST)
            if response.status in {401, 403}:
                raise SettingsError(
                    f"TIERMESH_RUNNER_UPSTREAM_KEY: the server refuses it at {url} (status {response.status})"
                )
            if response.status in LOADING:
                raise NotReadyError(
                    f"the server at {url} is not ready (status {response.status}); wait until it is, or correct the URL"
                )
            if response.status != 200:
                raise SettingsError(f"the server answers {url} with status {response.status}; correct the URL")
            return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, TooLargeError) as error:
        raise _unreadable(url) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotReadyError(
            f"no server answers at {url} ({type(error).__name__}); start it, or correct the URL"
        ) from error


def _unreadable(url: str) -> SettingsError:
    return SettingsError(f"the server answers {url} with something else than is expected there; correct the URL")


def _names(entries: dict[str, Any]) -> str:
    return ", ".join(entries)


async def listed_voices(session: aiohttp.ClientSession, server: UpstreamServer) -> tuple[str, ...]:
    """Returns the voices of a model by the list of models, or else those of its server; none if none are told."""
    told = names_of(server.entry.get("voices"))
    if not told:
        with suppress(SettingsError):
            told = names_of((await _get(session, f"{server.base_url}/audio/voices", _Voices)).voices)
    return (*told, *(server.quirks.speech.voices if told else ()))
