"""Shows a new key, once, with what a person needs to use it at once."""

from __future__ import annotations

import json
from typing import NamedTuple

from aiohttp import web

from services.common.catalog import Catalog
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

_NO_CHAT = "the-id-of-a-model"


class Snippet(NamedTuple):
    """Text to paste."""

    title: str
    text: str


class MadeKey:
    """Renders the one page that shows a key. `api_url` is the base URL of the API, with /v1."""

    def __init__(self, renderer: Renderer, catalog: Catalog, api_url: str) -> None:
        self._renderer = renderer
        self._catalog = catalog
        self._api_url = api_url

    def show(
        self, visit: Visit, secret: str, key: auth_pb2.ApiKey, *, old: auth_pb2.ApiKey | None = None
    ) -> web.Response:
        """Returns the page; with the old key, if the new one replaces it."""
        snippets = self._snippets(secret, key) if not key.endpoints or "chat" in key.endpoints else ()
        return self._renderer.page("made_key", visit, secret=secret, key=key, old=old, snippets=snippets)

    def _snippets(self, secret: str, key: auth_pb2.ApiKey) -> tuple[Snippet, ...]:
        chats = (model.id for model in self._catalog.models if model.kind == "chat")
        model = next((name for name in chats if not key.models or name in key.models), _NO_CHAT)
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        url = self._api_url
        curl = (
            f"curl -N {url}/chat/completions \\\n"
            f"  -H 'Authorization: Bearer {secret}' \\\n"
            "  -H 'Content-Type: application/json' \\\n"
            f"  -d '{json.dumps({'model': model, 'stream': True, 'messages': messages})}'\n"
        )
        python = (
            "# pip install openai\n"
            "from openai import OpenAI\n\n"
            f'client = OpenAI(base_url="{url}", api_key="{secret}")\n'
            "stream = client.chat.completions.create(\n"
            f'    model="{model}",\n'
            f"    messages={json.dumps(messages)},\n"
            "    stream=True,\n"
            ")\n"
            "for chunk in stream:\n"
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)\n'
        )
        node = (
            "// npm install openai\n"
            'import OpenAI from "openai";\n\n'
            f'const client = new OpenAI({{ baseURL: "{url}", apiKey: "{secret}" }});\n'
            "const stream = await client.chat.completions.create({\n"
            f'  model: "{model}",\n'
            '  messages: [{ role: "user", content: "What is the capital of France?" }],\n'
            "  stream: true,\n"
            "});\n"
            "for await (const chunk of stream) {\n"
            '  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");\n'
            "}\n"
        )
        environment = f"export OPENAI_BASE_URL={url}\nexport OPENAI_API_KEY={secret}\n"
        return (
            Snippet("curl", curl),
            Snippet("Python", python),
            Snippet("Node", node),
            Snippet("Agents and other programs", environment),
        )
