"""Embeddings of a server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import aiohttp

from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.runner.engines.base import NotReadyError
from services.runner.engines.upstream.bounded import TooLargeError
from services.runner.engines.upstream.events import UpstreamError
from services.runner.engines.upstream.failures import says_too_long
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream, nothing_there
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.kinds.vectors import Embeddings, of_length_one, read_vectors
from services.runner.engines.upstream.listed import number_of
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.base import TokenCounts
from services.runner.kinds.embedding import EmbeddingInput, EmbeddingJob, EmbeddingStep, Vector
from services.runner.refusals import invalid, not_served

# Inputs of one request: between two of them a job can be cancelled, and is seen to make progress.
_MOST_INPUTS = 32
# What a component takes in JSON at most, and what an answer has beside the vectors, in bytes.
_BYTES_PER_COMPONENT, _BYTES_BESIDE = 32, 1 << 16
# Of the first answer, from which the size of vectors is learnt; the server may have to load its model for it.
_LARGEST_FIRST, _FIRST_SECONDS = 4 << 20, 300.0
# llama.cpp says it so, with status 500.
_TOO_LARGE = re.compile(rb"too large to process|physical batch size")


class EmbeddingServerEngine(ServerEngine[EmbeddingJob, EmbeddingStep]):
    """Embeds by a server; an input may have `context` tokens.

    Vectors may be cut to `shorter` sizes here, for a model that was trained so, whatever the server can do.
    """

    def __init__(self, upstream: Upstream, *, slots: int, context: int, shorter: Sequence[int] = ()) -> None:
        super().__init__("embedding", upstream, slots=slots, context=context)
        self._shorter = tuple(sorted(shorter, reverse=True))
        self._dimensions = 0

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The sizes that vectors can have, the model's own first; known after `start`."""
        return (self._dimensions, *self._shorter)

    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        """Has one input embedded, because only vectors tell their size."""
        self._check_context(server)
        exchange = self._exchange(session, server, "start", lambda: None)
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                (vector,), _ = await _embed(exchange, server, ["a"], None)
        except MeshError as error:
            if error.code is Code.OVERLOADED:
                raise NotReadyError(f"the server at {server.base_url} is busy; wait until it embeds") from error
            raise nothing_there(server, error.message) from error
        except (UpstreamError, TooLargeError) as error:
            raise nothing_there(server, str(error) or type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReadyError(
                f"no server embeds at {server.base_url} ({type(error).__name__}); start it again"
            ) from error
        if self._shorter and not 0 < self._shorter[-1] <= self._shorter[0] < len(vector):
            raise SettingsError(
                f"TIERMESH_RUNNER_SHORTER_DIMENSIONS: vectors of {server.model} have {len(vector)} dimensions and can "
                "only be cut to fewer"
            )
        self._dimensions = len(vector)

    def _check(self, job: EmbeddingJob, server: UpstreamServer) -> None:
        ids = [token for given in job.inputs if not isinstance(given, str) for token in given]
        if not ids:
            return
        if not server.quirks.embedding.tokens:
            raise not_served("input", "its server takes texts, and no tokens")
        vocabulary = number_of(server.entry, "n_vocab")
        if vocabulary and max(ids) >= vocabulary:
            raise invalid(f"'input' has tokens that this model does not have. IDs must be below {vocabulary}.", "input")

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        return Exchange(session, server.root, request_id, progressed, self._explain, "input")

    def _explain(self, said: bytes) -> MeshError | None:
        """Returns the refusal of an input that is too long, if that is what the server says."""
        if not _TOO_LARGE.search(said) and says_too_long(said) is None:
            return None
        return MeshError(
            Code.CONTEXT_LENGTH_EXCEEDED,
            f"This model's maximum context length is {self.context} tokens for each input, and an input has more. "
            "Please shorten it, or split it into several inputs.",
            param="input",
        )

    async def _steps(
        self, job: EmbeddingJob, server: UpstreamServer, exchange: Exchange
    ) -> AsyncIterator[EmbeddingStep]:
        vectors: list[Vector] = []
        tokens = 0
        for batch in _batches(job.inputs):
            found, counted = await _embed(exchange, server, batch, self._dimensions)
            vectors += found
            tokens += counted
        if job.dimensions is not None:
            vectors = [of_length_one(vector[: job.dimensions]) for vector in vectors]
        yield EmbeddingStep(vectors, TokenCounts(tokens, 0))


def _batches(inputs: Sequence[EmbeddingInput]) -> Iterator[Sequence[EmbeddingInput]]:
    return (inputs[begin : begin + _MOST_INPUTS] for begin in range(0, len(inputs), _MOST_INPUTS))


async def _embed(
    exchange: Exchange, server: UpstreamServer, inputs: Sequence[EmbeddingInput], dimensions: int | None
) -> tuple[list[Vector], int]:
    """Returns a vector for each input, and the tokens of all."""
    quirks = server.quirks.embedding
    body = {"model": server.model, "input": inputs, **quirks.always}
    most = len(inputs) * dimensions * _BYTES_PER_COMPONENT + _BYTES_BESIDE if dimensions else _LARGEST_FIRST
    answer: Embeddings = await exchange.ask(quirks.path, Embeddings, most, json=body)
    vectors = read_vectors(answer, len(inputs), dimensions)
    if answer.prompt_tokens is None:
        raise UpstreamError("without usage")
    return vectors, answer.prompt_tokens
