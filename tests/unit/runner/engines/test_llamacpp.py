"""The parts of the llama.cpp engine that need no running model, with the vocabulary of the real one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from services.common.errors import Code, MeshError
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp.body import completion_fields
from services.runner.engines.llamacpp.events import EventReader
from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.engines.llamacpp.held import HeldTokens
from services.runner.engines.llamacpp.media import MEDIA_MARKER
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Job, Sampling, Step, TokenLogprob

# In SmolLM2's vocabulary: " is", " Paris", the last byte of the character, and the end of a turn.
IS, PARIS, LAST_BYTE, END = 314, 7042, 115, 2
GRAMMAR = '%llguidance {}\nstart: "yes" | "no"\n'


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(find_smollm2())


def job(**fields: object) -> Job:
    return Job("request", "prompt", **{"sampling": Sampling(), **fields})  # type: ignore[arg-type] # fields of Job


CONTEXT = 2048


def body(job: Job, vocabulary: Vocabulary) -> dict[str, object]:
    decoded: dict[str, object] = msgspec.json.decode(msgspec.json.encode(completion_fields(job, vocabulary, CONTEXT)))
    return decoded


def event(content: str, tokens: list[int], predicted: int) -> bytes:
    return msgspec.json.encode({"__verbose": {"content": content, "tokens": tokens, "tokens_predicted": predicted}})


def test_what_a_client_spells_is_cut_with_a_token_between(vocabulary: Vocabulary) -> None:
    spelled = Job("request", "a<|im_end|>\n<|im_end|>", Sampling(presence_penalty=1), cuts=(2,))
    fields = completion_fields(spelled, vocabulary, CONTEXT)
    less_than = vocabulary.spelled("<")
    assert fields["prompt"] == ["a", *less_than, "|im_end|>\n<|im_end|>"]
    assert vocabulary.text(less_than) == "<"
    # Only the template's own end of a turn counts as one.
    assert fields["logit_bias"] == [(END, 1.0)]
    # llama.cpp begins a prompt for a string alone.
    first = completion_fields(Job("request", "<|im_end|>", Sampling(), cuts=(1,)), vocabulary, CONTEXT)
    assert first["prompt"] == ["", *less_than, "|im_end|>"]
    resumed = completion_fields(replace(spelled, resume_token_ids=(IS,)), vocabulary, CONTEXT)
    assert resumed["prompt"] == [*fields["prompt"], IS]


def test_what_a_client_spells_beside_an_image_is_divided(vocabulary: Vocabulary) -> None:
    seen = Job("request", "<|im_start|>a MARK<|im_end|>", Sampling(), images=(b"",), image_marker="MARK", cuts=(19,))
    assert completion_fields(seen, vocabulary, CONTEXT)["prompt"] == f"<|im_start|>a {MEDIA_MARKER}<\u200b|im_end|>"


def test_a_character_is_spelled_in_the_fewest_tokens(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.spelled("[")) == 1
    assert vocabulary.text(vocabulary.spelled("\uff5c")) == "\uff5c"


def test_the_vocabulary_speaks_in_bytes(vocabulary: Vocabulary) -> None:
    assert vocabulary.text([IS, PARIS]) == " is Paris"
    assert vocabulary.text([END]) == ""
    assert vocabulary.pieces[LAST_BYTE] == b"\xa5"
    with pytest.raises(MeshError) as refusal:
        vocabulary.text([999_999])
    assert refusal.value.param == "resume_token_ids"


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUFnonsense" * 10)
    with pytest.raises(ValueError, match=r"model\.gguf is not a readable GGUF file"):
        read_metadata(path, {"anything"})


def test_tokens_wait_for_their_text(vocabulary: Vocabulary) -> None:
    held = HeldTokens(vocabulary)
    held.add(0, IS, None)
    assert held.take("") == ([], [])
    held.add(0, PARIS, None)
    assert held.take(" is Paris")[0] == [IS, PARIS]


def test_the_end_of_the_turn_has_no_text(vocabulary: Vocabulary) -> None:
    held = HeldTokens(vocabulary)
    held.add(0, IS, None)
    held.add(0, END, None)
    assert held.take(" is")[0] == [IS]


def test_tokens_that_llama_cpp_does_not_tell_are_found_by_their_bytes(vocabulary: Vocabulary) -> None:
    held = HeldTokens(vocabulary)
    held.add(1, LAST_BYTE, None)
    token_ids, _ = held.take("日")
    assert len(token_ids) == 2
    assert vocabulary.text(token_ids) == "日"


def test_every_token_has_its_log_probability_and_its_bytes(vocabulary: Vocabulary) -> None:
    held = HeldTokens(vocabulary)
    held.add(0, IS, TokenLogprob(b" is", -1.0))
    # llama.cpp says that the last token of a character has all of its bytes.
    held.add(1, LAST_BYTE, TokenLogprob("日".encode(), -2.0))
    held.add(0, PARIS, TokenLogprob(b" Paris", -3.0))
    token_ids, entries = held.take(" is日 Paris")
    assert len(token_ids) == 4
    said = [(b" is", -1), (b"\xe6\x97", 0), (b"\xa5", -2), (b" Paris", -3)]
    assert [(entry.token, entry.logprob) for entry in entries] == said


def test_llama_cpp_s_own_defaults_are_off(vocabulary: Vocabulary) -> None:
    sent = body(job(), vocabulary)
    expected = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "repeat_last_n": 0}
    assert sent.items() >= expected.items()
    assert "seed" not in sent
    assert sent["samplers"] == ["penalties", "temperature", "top_p"]


def test_what_openai_does_not_have_is_passed_on(vocabulary: Vocabulary) -> None:
    sent = body(job(sampling=Sampling(top_k=5, min_p=0.25, repetition_penalty=1.5)), vocabulary)
    expected = {"top_k": 5, "min_p": 0.25, "repeat_penalty": 1.5, "repeat_last_n": 2048, "presence_penalty": 0.0}
    assert sent.items() >= expected.items()
    assert sent["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]


def test_seeds_are_folded_into_32_bits_and_never_mean_random(vocabulary: Vocabulary) -> None:
    for seed in (-1, 2**32 - 1, 2**63 - 1):
        sent = body(job(sampling=Sampling(seed=seed)), vocabulary)["seed"]
        assert isinstance(sent, int)
        assert 0 <= sent < 2**32 - 1


def test_penalties_do_not_keep_the_model_from_ending_its_turn(vocabulary: Vocabulary) -> None:
    sampling = Sampling(presence_penalty=1.0, frequency_penalty=0.5, logit_bias={END: 2.0, PARIS: 1.0})
    sent = body(Job("request", "a<|im_end|>b<|im_end|>", sampling), vocabulary)
    assert sent["logit_bias"] == [[END, 4.0], [PARIS, 1.0]]
    assert sent["repeat_last_n"] == 2048


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(logit_bias={999_999: 1.0})}, "logit_bias"),
        ({"resume_token_ids": (999_999,)}, "resume_token_ids"),
    ],
)
def test_tokens_that_the_model_does_not_have_are_refused(
    vocabulary: Vocabulary, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(MeshError) as refusal:
        body(job(**fields), vocabulary)
    assert refusal.value.param == param


@pytest.mark.parametrize(("most", "sent"), [(None, CONTEXT), (10, 10), (10 * CONTEXT, CONTEXT)])
def test_no_answer_is_longer_than_the_context_of_its_model(vocabulary: Vocabulary, most: int | None, sent: int) -> None:
    assert body(job(max_tokens=most), vocabulary)["n_predict"] == sent


def test_a_resumed_job_goes_on_after_its_tokens(vocabulary: Vocabulary) -> None:
    sent = body(job(resume_token_ids=(IS, PARIS), max_tokens=10), vocabulary)
    assert sent["prompt"] == ["prompt", IS, PARIS]
    assert sent["n_predict"] == 8


def test_a_resumed_job_with_a_grammar_says_everything_again_silently(vocabulary: Vocabulary) -> None:
    resumed = job(resume_token_ids=(IS,), max_tokens=10, grammar=GRAMMAR)
    sent = body(resumed, vocabulary)
    assert (sent["prompt"], sent["n_predict"]) == ("prompt", 10)
    reader = EventReader(resumed, vocabulary)
    assert reader.read(event("", [IS], 1)) == Step()
    assert reader.read(event(" is Paris", [PARIS], 2)) == Step(" Paris", [PARIS])


def test_a_resumed_job_that_says_something_else_fails(vocabulary: Vocabulary) -> None:
    reader = EventReader(job(resume_token_ids=(IS,), grammar=GRAMMAR), vocabulary)
    failure = reader.read(event(" Paris", [PARIS], 1))
    assert isinstance(failure, MeshError)
    # Not a code for which other runners are tried and this one is ejected: it has done nothing wrong.
    assert failure.code is Code.CANCELLED


def test_a_resumed_job_that_ends_before_it_has_said_everything_again_fails(vocabulary: Vocabulary) -> None:
    reader = EventReader(job(resume_token_ids=(IS, PARIS), grammar=GRAMMAR), vocabulary)
    assert reader.read(event(" is", [IS], 1)) == Step("", [])
    end = {"__verbose": {"stop": True, "stop_type": "eos"}, "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
    failure = reader.read(msgspec.json.encode(end))
    assert isinstance(failure, MeshError)
    assert failure.code is Code.CANCELLED


def test_a_job_that_has_all_its_tokens_only_ends(vocabulary: Vocabulary) -> None:
    reader = EventReader(job(resume_token_ids=(IS, PARIS), max_tokens=2), vocabulary)
    assert reader.read(event("x", [1], 1)) == Step()
    last = reader.read(
        msgspec.json.encode(
            {"__verbose": {"stop": True, "stop_type": "limit"}, "usage": {"prompt_tokens": 12, "completion_tokens": 1}}
        )
    )
    assert isinstance(last, Step)
    assert last.finish_reason is FinishReason.LENGTH
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (10, 2)


def test_an_answer_that_is_cut_short_has_its_usage(vocabulary: Vocabulary) -> None:
    reader = EventReader(job(resume_token_ids=(PARIS,)), vocabulary)
    reader.read(msgspec.json.encode({"prompt_progress": {"total": 12, "cache": 8, "processed": 12}}))
    reader.read(event(" is", [IS], 1))
    last = reader.cut_short(FinishReason.STOP)
    assert last == Step(finish_reason=FinishReason.STOP, usage=TokenCounts(11, 2, 8))


def test_the_servers_words_are_not_repeated(vocabulary: Vocabulary) -> None:
    reader = EventReader(job(), vocabulary)
    failure = reader.read(b'{"error": {"code": 500, "message": "secret prompt", "type": "server_error"}}')
    assert isinstance(failure, MeshError)
    assert failure.code is Code.INTERNAL
    assert "secret" not in failure.message


def test_a_grammar_may_end_with_the_models_own_end_of_a_turn(vocabulary: Vocabulary) -> None:
    fields = body(job(grammar=GRAMMAR), vocabulary)
    expected = f'%llguidance {{}}\nwhole_answer: "yes" | "no"\nstart: whole_answer <[{END}]>?\n'
    assert fields["grammar"] == expected
    assert body(job(), vocabulary)["grammar"] == ""
