"""What audio costs, however it ends: the rows of docs/architecture.md as they are for what is streamed, or uploaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2
import psutil
import pytest

from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

# Of a speech and of a transcription.
PRICE = 3
RUNNER = "runner-speech"
LISTENER = "runner-transcription"
# Takes a second or more to speak, and more bytes than the buffers between runner and client hold.
TEXT = "Today is a wonderful day to build something people love! " * 70


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("audio"), tiers=("speech", "transcription")) as mesh:
        yield mesh


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


class Customer(FundedAccount):
    """An account of its own with 1,000 credits and a key without a limit."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.key = self.new_key()["api_key"]

    @contextmanager
    def speech(self, fields: Mapping[str, str] | None = None, *, timeout: float = 30) -> Iterator[httpx2.Response]:
        """Asks for a long speech and opens the answer."""
        body = {"model": "tiermesh-speech", "input": TEXT, "voice": "alloy", "response_format": "wav", "speed": 0.5}
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.mesh.base_url + "/audio/speech"
        with (
            httpx2.Client(timeout=timeout) as http,
            http.stream("POST", url, json={**body, **(fields or {})}, headers=headers) as response,
        ):
            yield response

    async def settled(self, spent: int) -> None:
        """Waits until nothing is held, then checks what was spent."""
        await eventually(lambda: self.balance()["held"] == 0)
        assert self.balance()["available"] == 1000 - spent
        assert self.mesh.command_now("ledger", "audit")["violations"] == []

    def balance(self) -> dict[str, int]:
        balance: dict[str, int] = self.mesh.command_now("balance", self.account)
        return balance


def active_slots(mesh: LocalMesh, runner: str = RUNNER) -> int:
    for line in httpx2.get(mesh.metrics[runner]).text.splitlines():
        if line.startswith("tiermesh_runner_slots_active "):
            return int(float(line.split()[1]))
    raise AssertionError("the runner does not tell its active slots")


@contextmanager
def transcript(customer: Customer, recording: bytes) -> Iterator[httpx2.Response]:
    """Sends a recording and opens its streamed transcript."""
    headers = {"Authorization": f"Bearer {customer.key}"}
    url = customer.mesh.base_url + "/audio/transcriptions"
    fields = {"model": "tiermesh-transcribe", "stream": "true"}
    with (
        httpx2.Client(timeout=stretched(60)) as http,
        http.stream("POST", url, data=fields, files={"file": ("a.mp3", recording)}, headers=headers) as response,
    ):
        yield response


def process(mesh: LocalMesh) -> psutil.Process:
    return psutil.Process(mesh.pids[RUNNER])


async def test_a_whole_speech_costs_the_price(customer: Customer) -> None:
    with customer.speech({"input": "Hello there."}) as response:
        assert response.status_code == 200
        assert len(response.read()) > 10_000
    # The charge was durable before the end was sent: no waiting here.
    assert customer.balance()["available"] == 1000 - PRICE
    await customer.settled(PRICE)


async def test_leaving_after_the_first_sound_costs_the_price_and_stops_the_engine(customer: Customer) -> None:
    with customer.speech() as response:
        assert next(response.iter_raw(1000))
    await eventually(lambda: active_slots(customer.mesh) == 0, 2)
    await customer.settled(PRICE)


async def test_leaving_before_the_first_sound_is_free(customer: Customer) -> None:
    runner = process(customer.mesh)
    runner.suspend()
    try:
        with pytest.raises(httpx2.TimeoutException), customer.speech(timeout=1):
            pass
    finally:
        runner.resume()
    await customer.settled(0)
    await eventually(lambda: active_slots(customer.mesh) == 0)


@pytest.mark.parametrize("format_of_stream", ["audio", "sse"])
async def test_a_runner_that_dies_breaks_the_speech_off_and_costs_nothing(
    customer: Customer, format_of_stream: str
) -> None:
    mesh = customer.mesh
    pid = mesh.pids[RUNNER]
    with customer.speech({"stream_format": format_of_stream}) as response:
        pieces = response.iter_raw(1000)
        assert next(pieces)
        process(mesh).suspend()
        mesh.kill(RUNNER)
        if format_of_stream == "audio":
            # No client can take this for a whole file.
            with pytest.raises(httpx2.TransportError):
                list(pieces)
        else:
            assert b'"error":' in b"".join(pieces).rsplit(b"data: ", 1)[1]
    await customer.settled(0)
    await mesh.until_restarted(RUNNER, pid)
    await mesh.until_serving()


async def test_what_was_refused_costs_nothing(customer: Customer) -> None:
    mistakes = ({"voice": "nobody"}, {"input": ""}, {"response_format": "midi"}, {"model": "nothing"})
    for fields in mistakes:
        with customer.speech(fields) as response:
            assert response.status_code in {400, 404}
    await customer.settled(0)


async def test_leaving_a_transcription_after_its_first_phrase_costs_the_price_and_stops_it(customer: Customer) -> None:
    # Several minutes, which take longer to listen to than anything below waits.
    with customer.speech({"response_format": "mp3"}) as response:
        recording = response.read()
    with transcript(customer, recording) as response:
        # A comment may come first, if the machine is busy.
        assert any(line.startswith("data: ") for line in response.iter_lines())
    # Once the library has come to the end of what it was listening to.
    await eventually(lambda: active_slots(customer.mesh, LISTENER) == 0, 10)
    await customer.settled(2 * PRICE)
