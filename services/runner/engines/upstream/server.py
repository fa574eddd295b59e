"""What a server says of itself when it is asked at the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from services.common.model_file import Thinking
from services.common.settings import SettingsError
from services.runner.engines.upstream.quirks import Quirks, quirks_of
from services.runner.kinds.text.prompt.template import ChatTemplate

_SECONDS = 10.0
_LARGEST = 16 << 20
# Where servers write how many tokens a conversation may have.
_CONTEXTS = ("max_model_len", "context_length", "loaded_context_length", "max_context_length", "n_ctx")


class _ListedModel(msgspec.Struct):
    id: str
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Generation(msgspec.Struct):
    n_ctx: int = 0


class _Properties(msgspec.Struct):
    default_generation_settings: _Generation = msgspec.field(default_factory=_Generation)
    total_slots: int = 0
    chat_template: str = ""


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


async def find_server(session: aiohttp.ClientSession, url: str, model: str = "") -> UpstreamServer:
    """Asks a server for its models; raises SettingsError if it cannot be used, or has not the one model."""
    base = base_url(url)
    listed = await _get(session, f"{base}/models", _Models)
    entries = {msgspec.convert(entry, _ListedModel).id: entry for entry in listed.data}
    if not entries:
        raise SettingsError(f"the server at {base} lists no model; load one there")
    if model and model not in entries:
        raise SettingsError(
            f"TIERMESH_RUNNER_UPSTREAM_MODEL: the server at {base} has no {model!r}; it has {_names(entries)}"
        )
    if not model and len(entries) > 1:
        raise SettingsError(f"TIERMESH_RUNNER_UPSTREAM_MODEL: name one of the models at {base}: {_names(entries)}")
    chosen = model or next(iter(entries))
    entry = entries[chosen]
    quirks = quirks_of(str(entry.get("owned_by", "")))
    context = next((entry[key] for key in _CONTEXTS if isinstance(entry.get(key), int)), 0)
    if not quirks.properties:
        return UpstreamServer(base, chosen, quirks, context)
    found = await _get(session, f"{base.removesuffix('/v1')}/props", _Properties)
    context = found.default_generation_settings.n_ctx or context
    tools, thinking = _abilities(found.chat_template, quirks)
    return UpstreamServer(base, chosen, quirks, context, found.total_slots, tools, thinking)


async def is_there(session: aiohttp.ClientSession, server: UpstreamServer) -> bool:
    """Returns whether a server still answers as one."""
    try:
        await _get(session, f"{server.base_url}/models", _Models)
    except SettingsError:
        return False
    return True


def _abilities(chat_template: str, quirks: Quirks) -> tuple[bool, Thinking]:
    """Returns whether a chat template shows functions, and whether its model thinks."""
    try:
        template = ChatTemplate(chat_template)
    except ValueError:
        # The server renders it, and may know more of it.
        return True, "never"
    if template.hybrid and quirks.template_variables:
        return template.shows_tools, "optional"
    return template.shows_tools, "always" if template.thinks else "never"


async def _get(session: aiohttp.ClientSession, url: str, kind: type[Any]) -> Any:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=_SECONDS), allow_redirects=False) as response:
            content = await response.content.read(_LARGEST)
            if response.status in {401, 403}:
                raise SettingsError(
                    f"TIERMESH_RUNNER_UPSTREAM_KEY: the server refuses it at {url} (status {response.status})"
                )
            if response.status != 200:
                raise SettingsError(f"the server answers {url} with status {response.status}; correct the URL")
            return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise SettingsError(
            f"the server answers {url} with something else than a list of models; correct the URL"
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SettingsError(
            f"no server answers at {url} ({type(error).__name__}); start it, or correct the URL"
        ) from error


def _names(entries: dict[str, Any]) -> str:
    return ", ".join(entries)
