"""Open WebUI's server, and what its page in a browser asks of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx2

from tests.agents.python.customer import Customer
from tests.agents.python.environment import Home, program
from tests.support.deadlines import stretched
from tests.support.ports import free_address
from tests.support.waiting import eventually

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
_STOP_SECONDS = 20.0
# What a browser asks for with the first message of a chat: each is a request of its own to the model.
HOUSEKEEPING = {"title_generation": True, "tags_generation": True, "follow_up_generation": True}


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as the server keeps it."""

    title: str
    tags: list[str]
    # The message of the model: its text, its parts in order, and the error that took its place.
    answer: dict[str, Any]


class OpenWebui:
    """One server with an empty database, connected to a mesh as `customer`; `async with` starts and ends it."""

    def __init__(self, home: Home, customer: Customer) -> None:
        self._home = home
        self._customer = customer
        self._log = home.directory / "open-webui.log"
        self._address = free_address()
        self._http = httpx2.AsyncClient(base_url=f"http://{self._address}", timeout=stretched(ANSWER_SECONDS))
        self._process: subprocess.Popen[bytes] | None = None

    async def models(self) -> set[str]:
        """Returns what a person may choose from."""
        return {model["id"] for model in (await self._get("/api/models"))["data"]}

    async def chat(self, model: str, text: str, housekeeping: Mapping[str, bool]) -> Chat:
        """Begins a chat with a message and returns the chat once its answer and all housekeeping are there."""
        question = {"id": str(uuid4()), "parentId": None, "role": "user", "content": text, "models": [model]}
        answer = str(uuid4())
        asked = {
            "model": model,
            "stream": True,
            "messages": [{"role": "user", "content": text}],
            "parent_id": None,
            "session_id": str(uuid4()),
            "user_message": question,
            "message_ids": [{"model_id": model, "message_id": answer}],
            "background_tasks": housekeeping,
        }
        response = await self._http.post("/api/chat/completions", json=asked)
        assert response.status_code == 200, response.text
        chat_id = response.json()["chat_id"]

        async def ended() -> bool:
            running = (await self._get(f"/api/tasks/chat/{chat_id}"))["task_ids"]
            kept = await self._get(f"/api/v1/chats/{chat_id}")
            # The title is asked for apart from everything else.
            titled = kept["title"] != "New Chat" or not housekeeping
            return not running and titled and bool(_message(kept, answer).get("done"))

        await eventually(ended, ANSWER_SECONDS)
        kept = await self._get(f"/api/v1/chats/{chat_id}")
        return Chat(kept["title"], kept["meta"].get("tags", []), _message(kept, answer))

    async def _get(self, path: str) -> Any:
        response = await self._http.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Open WebUI ended while it started:\n{self._log.read_text()}"
        try:
            return (await self._http.get("/ready")).status_code == 200
        except httpx2.TransportError:
            return False

    def _spawn(self) -> subprocess.Popen[bytes]:
        host, _, port = self._address.partition(":")
        folder = self._home.directory
        environ = self._home.environ(
            OPENAI_API_BASE_URL=self._customer.base_url,
            OPENAI_API_KEY=self._customer.api_key,
            ENABLE_OLLAMA_API="false",
            # Models of its own, such as the one for embeddings, stay out.
            USE_SLIM_DOCKER="true",
            OFFLINE_MODE="true",
            DATA_DIR=str(folder / "data"),
            STATIC_DIR=str(folder / "static"),
            WEBUI_AUTH="false",
            WEBUI_SECRET_KEY="only for tests",
        )
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [program("open-webui", "open-webui"), "serve", "--host", host, "--port", port],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, cwd=folder,
            )  # fmt: skip

    async def __aenter__(self) -> Self:
        self._process = self._spawn()
        try:
            await eventually(self._ready, START_SECONDS)
            session = await self._http.post("/api/v1/auths/signin", json={"email": "", "password": ""})
            assert session.status_code == 200, session.text
            self._http.headers["authorization"] = f"Bearer {session.json()['token']}"
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        await self._http.aclose()
        self._process.terminate()
        try:
            self._process.wait(stretched(_STOP_SECONDS))
        finally:
            self._process.kill()
        print(self._log.read_text(errors="replace")[-4000:])  # noqa: T201 - pytest shows it for tests that failed


def _message(chat: dict[str, Any], message_id: str) -> dict[str, Any]:
    message: dict[str, Any] = chat["chat"]["history"]["messages"][message_id]
    return message
