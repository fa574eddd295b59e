"""Stop strings end the content before them, whatever tokens it is made of, and see neither thoughts nor calls."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.catalog import Model
from services.common.text_digest import text_digest
from services.common.text_steps import AnyReply
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Step, TokenLogprob
from services.runner.kinds.text.prompt.nesting import Nesting
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.stops import StopSearch
from services.runner.kinds.text.writer import ReplyWriter
from tests.support import answers
from tiermesh.runner.v1 import runner_pb2 as pb

PLAIN = Model(id="model", kind="chat", tier="pro", price=10, context=4096)
THINKING_AND_CALLING = Model(
    id="model", kind="chat", tier="pro", price=10, context=4096, capabilities=("tools",), reasoning=True
)
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": "ab}"}}\n</tool_call>'


@dataclass(frozen=True)
class Family:
    """Models that write calls in one way."""

    template: ChatTemplate
    call: str
    # What comes before a thought; the template may have opened it.
    opening: str = "<think>"


# Its template opens thoughts.
HERMES = Family(ChatTemplate(packaged_template("smollm2")), CALL, "")
FAMILIES = (
    HERMES,
    Family(
        ChatTemplate("{% if tools %}{{ tools }}{{ '<|python_tag|>' }}{% endif %}"),
        '<|python_tag|>{"name": "f", "parameters": {"a": "ab}"}}',
    ),
    Family(
        ChatTemplate("{{ tools }}{{ '[AVAILABLE_TOOLS]' }}{{ '[TOOL_CALLS][' }}"),
        '[TOOL_CALLS][{"name": "f", "arguments": {"a": "ab}"}}]',
    ),
    Family(ChatTemplate("{{ tools }}{{ '[TOOL_CALLS]' }}{{ '[ARGS]' }}"), '[TOOL_CALLS]f[ARGS]{"a": "ab}"}'),
)
WORDS = st.text(alphabet='ab }<"\n', max_size=8)
STOPS = st.lists(
    st.text(alphabet='ab }<"\n', min_size=1, max_size=4) | st.sampled_from(["</think>", "name", "<tool_call>", "aab"]),
    min_size=1,
    max_size=9,
)


def end_of(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Returns where the stop string begins and ends that is complete first, found in the plainest way."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts), end
    return None


@dataclass
class Script:
    """An engine that says what it was told to, a token for each piece, and stops some tokens after it is told to."""

    pieces: Sequence[str]
    family: Family = HERMES
    lag: int = 0
    reason: FinishReason = FinishReason.STOP
    # Whether its last step has text, too.
    ends_with_text: bool = False

    def answer(self, *, after: Answer | None = None, model: Model = THINKING_AND_CALLING, **fields: object) -> Answer:
        """Has the runner's own reader and writer make an answer of it, or the rest of one that broke off."""
        answer = Answer() if after is None else after
        resume = len(answer.token_ids)
        call = pb.GenerateCall(
            request_id="r",
            model="model",
            messages=[pb.Message(role="user", content="hi")],
            sampling=pb.Sampling(temperature=1, top_p=1),
            tools=[pb.Tool(name="f", parameters_json="{}")] if model.capabilities else [],
            resume_token_ids=range(resume),
            resume_text_digest=text_digest(answer.reasoning + answer.content),
            logprobs=True,
            **fields,  # type: ignore[arg-type] # fields of the message
        )
        detokenize = lambda ids: "".join(self.pieces[at] for at in ids)  # noqa: E731
        request = RequestReader(self.family.template, detokenize=detokenize, new_call_id=lambda: "call").read(
            call, model
        )
        writer = ReplyWriter(1, request)
        remaining: int | None = None

        class Ticket:
            progress = 0

            def cancel(_self) -> None:  # noqa: N805 - the script is `self` here
                raise AssertionError("the usage of the answer would be lost")

            def finish(_self, reason: FinishReason = FinishReason.LENGTH) -> None:  # noqa: N805 - as above
                nonlocal remaining
                assert remaining is None
                assert reason is FinishReason.STOP
                remaining = self.lag
                if not remaining:
                    answer.take(writer.write(last(Step(), reason)))

        writer.begin(Ticket())
        for step in self._steps(resume):
            answer.take(writer.write(step))
            if remaining and not answer.finish:
                remaining -= 1
                if not remaining:
                    answer.take(writer.write(last(Step(), FinishReason.STOP)))
            if remaining == 0 or answer.finish:
                break
        return answer

    def _steps(self, resume: int) -> list[Step]:
        rest = enumerate(self.pieces[resume:], resume)
        steps = [Step(piece, [at], [TokenLogprob(piece.encode(), -1.0)]) for at, piece in rest]
        if not steps or not self.ends_with_text:
            steps.append(Step())
        last(steps[-1], self.reason)
        return steps


def last(step: Step, reason: FinishReason) -> Step:
    """Makes a step the last one; the engine has counted more tokens than it has told of, the end of a turn for one."""
    step.finish_reason, step.usage = reason, TokenCounts(9, 99, 3)
    return step


def closed(arguments: str) -> bool:
    """Returns whether the last brace has closed."""
    nesting = Nesting()
    nesting.take(arguments)
    return nesting.closed


@dataclass
class Answer(answers.Answer):
    """What a client puts together, and what came before what."""

    # For each call, how much content came before it.
    places: list[int] = field(default_factory=list)
    # What there was before each reply.
    earlier: list[Answer] = field(default_factory=list)

    def take(self, reply: AnyReply | None) -> None:
        if reply is None:
            return
        self.earlier = [*self.earlier, copy(self)]
        calls = len(self.calls)
        self.add(reply)
        self.places = [*self.places, *[len(self.content)] * (len(self.calls) - calls)]


def pieces_of(text: str, sizes: Sequence[int]) -> list[str]:
    pieces = []
    for size in (*sizes, len(text)):
        if text:
            pieces.append(text[:size])
            text = text[size:]
    return pieces


SIZES = st.lists(st.integers(1, 7), max_size=60)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[Family, str]:
    family = draw(st.sampled_from(FAMILIES))
    call = family.call
    parts = draw(st.lists(WORDS | st.just(call) | st.sampled_from(["<tool_call>", call[:30], call[:48]]), max_size=5))
    thought = family.opening + draw(WORDS) + draw(st.sampled_from(["</think>\n", "</think>", "</think>\n", ""]))
    return family, thought + "".join(parts)


@given(st.text(alphabet="ab }\n", max_size=40), SIZES, STOPS, st.booleans(), st.integers(0, 3), st.booleans())
def test_plain_text_ends_before_the_stop_string_that_is_complete_first(
    text: str, sizes: list[int], stops: list[str], whole: bool, lag: int, ends_with_text: bool
) -> None:
    script = Script(pieces_of(text, sizes), HERMES, lag, FinishReason.LENGTH, ends_with_text)
    answer = script.answer(model=PLAIN, stop=stops, whole=whole)
    found = end_of(text, stops)
    assert answer.stop == ("" if found is None else text[found[0] : found[1]])
    assert answer.logprobs.decode() == answer.content == (text if found is None else text[: found[0]])
    assert answer.finish == (pb.FINISH_REASON_LENGTH if found is None else pb.FINISH_REASON_STOP)
    assert answer.token_ids == list(range(len(answer.token_ids)))
    assert answer.content.startswith("".join(script.pieces[at] for at in answer.token_ids))
    if found is not None:
        # Exactly the tokens up to the one in which the stop string is complete, however late the engine stops.
        said, used = 0, 0
        while said < found[1]:
            said, used = said + len(script.pieces[used]), used + 1
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.cached_tokens) == (9, used, 3)


@given(scripts(), SIZES, STOPS, st.integers(0, 3), st.sampled_from(FinishReason), st.booleans())
def test_stop_strings_see_content_only(
    said: tuple[Family, str],
    sizes: list[int],
    stops: list[str],
    lag: int,
    reason: FinishReason,
    ends_with_text: bool,
) -> None:
    family, text = said
    script = Script(pieces_of(text, sizes), family, lag, reason, ends_with_text)
    by_character = Script(list(text), family, reason=reason).answer()
    whole_calls = [
        place for place, call in zip(by_character.places, by_character.calls, strict=True) if closed(call[1])
    ]
    both = []
    for whole in (False, True):
        free = script.answer(whole=whole)
        answer = script.answer(whole=whole, stop=stops)
        both.append((free.content, answer.content, answer.finish, answer.usage))
        found = end_of(free.content, stops)
        assert answer.stop == ("" if found is None else free.content[found[0] : found[1]])
        assert answer.reasoning == free.reasoning
        assert answer.logprobs.decode() == answer.content
        if found is None:
            assert (answer.content, answer.calls, answer.finish) == (free.content, free.calls, free.finish)
            assert answer.usage == free.usage
            continue
        assert answer.content == free.content[: found[0]]
        # Calls that came before the end of the stop string are there, and those after it are not.
        assert answer.calls == free.calls[: sum(1 for place in whole_calls if place < found[1])]
        assert all(closed(arguments) for _, arguments in answer.calls)
        assert answer.finish == (pb.FINISH_REASON_TOOL_CALLS if answer.calls else pb.FINISH_REASON_STOP)
        assert answer.usage.completion_tokens <= len(script.pieces)
        assert answer.usage.reasoning_tokens == free.usage.reasoning_tokens
    # A call that the model leaves unfinished is content, unless its beginning has been streamed.
    assert both[0] == both[1] or both[0][0] != both[1][0]


@given(scripts(), SIZES, STOPS, st.integers(0, 60))
def test_an_answer_with_stop_strings_goes_on_wherever_it_broke_off(
    said: tuple[Family, str], sizes: list[int], stops: list[str], at: int
) -> None:
    script = Script(pieces_of(said[1], sizes), said[0])
    answer = script.answer(stop=stops)
    resumed = script.answer(stop=stops, after=copy(answer.earlier[at % len(answer.earlier)]))
    assert (resumed.content, resumed.reasoning, resumed.calls) == (answer.content, answer.reasoning, answer.calls)
    assert (resumed.token_ids, resumed.logprobs) == (answer.token_ids, answer.logprobs)
    assert (resumed.finish, resumed.usage.completion_tokens) == (answer.finish, answer.usage.completion_tokens)


def test_text_that_cannot_begin_a_stop_string_is_certain_at_once() -> None:
    search = StopSearch(["###", "aab"])
    certain = [(search.take(text), search.certain) for text in ("hello", " #", "x", "a", "a", "a")]
    assert certain == [(False, 5), (False, 6), (False, 8), (False, 8), (False, 8), (False, 9)]
    assert search.take("b")
    assert search.found == 9


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("stops", "stop", "found"),
    [(["bcde", "cd"], "cd", 2), (["cd", "bcd"], "bcd", 1), (["ef", "bcde"], "bcde", 1)],
)
def test_the_stop_string_that_is_complete_first_counts_however_the_text_comes(
    stops: list[str], stop: str, found: int, size: int
) -> None:
    search = StopSearch(stops)
    assert any(search.take(piece) for piece in pieces_of("abcdef", [size] * 6))
    assert (search.found, search.stop) == (found, stop)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("stop", ["}", "name", "\n", '"', "<tool_call>", "</think>", "hm"])
def test_a_thought_and_a_call_have_every_stop_string_and_stay_whole(stop: str, whole: bool) -> None:
    script = Script(pieces_of("\nhm } name\n</think>\n\nI look.\n" + CALL, [3] * 40))
    answer = script.answer(stop=[stop], whole=whole)
    assert (answer.reasoning, answer.content) == ("hm } name", "I look.")
    assert answer.calls == [("f", '{"a": "ab}"}')]
    assert answer.finish == pb.FINISH_REASON_TOOL_CALLS
