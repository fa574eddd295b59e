from __future__ import annotations

import asyncio
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from services.common.batch.frames import MAX_FRAME_BYTES, MAX_FRAME_ITEMS
from services.common.batch.outbox import CallOutbox, ReplyOutbox


async def test_what_gathers_between_two_frames_travels_together() -> None:
    outbox: ReplyOutbox[str] = ReplyOutbox(10)
    outbox.put("a")
    assert await outbox.take() == ["a"]
    outbox.put("b")
    outbox.put("c")
    assert await outbox.take() == ["b", "c"]


async def test_take_waits_until_something_is_there() -> None:
    outbox: ReplyOutbox[str] = ReplyOutbox(10)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.put("a")
    assert await taking == ["a"]


async def test_a_cancelled_take_loses_nothing() -> None:
    outbox: CallOutbox[str] = CallOutbox(clock=lambda: 2.5)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put(1, "call")
    taking.cancel()
    await asyncio.wait([taking])
    assert await outbox.take() == (["call"], [], 2500)


async def test_a_frame_says_since_when_its_oldest_call_has_waited() -> None:
    now = 1.0
    outbox: CallOutbox[int] = CallOutbox(clock=lambda: now)
    for number in range(MAX_FRAME_ITEMS + 1):
        outbox.put(number, number)
        now += 1.0
    assert (await outbox.take())[2] == 1_000
    # What did not fit into that frame has waited at most as long.
    assert (await outbox.take())[2] == 1_000
    outbox.put(0, 0)
    assert (await outbox.take())[2] == int(now * 1000)


async def test_a_frame_of_large_calls_is_bounded_by_bytes() -> None:
    outbox: CallOutbox[int] = CallOutbox(weigh=lambda size: size)
    sizes = [MAX_FRAME_BYTES, MAX_FRAME_BYTES // 2, MAX_FRAME_BYTES // 2, 10 * MAX_FRAME_BYTES, 1, 1]
    for number, size in enumerate(sizes):
        outbox.put(number, size)
    frames = [(await outbox.take())[0] for _ in range(4)]
    assert frames == [sizes[:1], sizes[1:3], sizes[3:4], sizes[4:]]
    assert len(outbox) == 0


async def test_a_frame_holds_no_more_than_the_most_and_nothing_is_lost_or_reordered() -> None:
    replies: ReplyOutbox[int] = ReplyOutbox(10_000)
    calls: CallOutbox[int] = CallOutbox()
    numbers = list(range(2 * MAX_FRAME_ITEMS + 1))
    for number in numbers:
        replies.put(number)
        calls.put(number, number)
    frames = [await replies.take() for _ in range(3)]
    assert [len(frame) for frame in frames] == [MAX_FRAME_ITEMS, MAX_FRAME_ITEMS, 1]
    assert list(chain(*frames)) == numbers
    assert list(chain(*[(await calls.take())[0] for _ in range(3)])) == numbers


async def test_a_reply_outbox_refuses_what_does_not_fit() -> None:
    outbox: ReplyOutbox[str] = ReplyOutbox(2)
    assert [outbox.put("a"), outbox.put("b"), outbox.put("c")] == [True, True, False]
    assert await outbox.take() == ["a", "b"]
    assert outbox.put("d")
    assert await outbox.take() == ["d"]


async def test_a_withdrawn_call_is_sent_neither_itself_nor_its_cancel() -> None:
    outbox: CallOutbox[str] = CallOutbox()
    outbox.put(1, "withdrawn")
    outbox.put(2, "wanted")
    outbox.cancel(1)
    assert (await outbox.take())[:2] == (["wanted"], [])


async def test_cancels_of_sent_calls_go_with_the_next_frame_even_behind_a_backlog() -> None:
    outbox: CallOutbox[int] = CallOutbox()
    for number in range(MAX_FRAME_ITEMS + 1):
        outbox.put(number, number)
    outbox.cancel(-1)
    calls, cancels, _ = await outbox.take()
    assert (len(calls), cancels) == (MAX_FRAME_ITEMS, [-1])
    assert (await outbox.take())[:2] == ([MAX_FRAME_ITEMS], [])


async def test_a_poke_makes_an_empty_frame() -> None:
    calls: CallOutbox[int] = CallOutbox()
    calls.poke()
    assert (await calls.take())[:2] == ([], [])
    replies: ReplyOutbox[int] = ReplyOutbox(1)
    replies.poke()
    assert await replies.take() == []


@given(st.lists(st.tuples(st.sampled_from(["put", "cancel", "take"]), st.integers(0, 9)), max_size=60))
def test_a_cancel_is_sent_exactly_for_the_calls_that_were_sent(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        outbox: CallOutbox[int] = CallOutbox()
        waiting: set[int] = set()
        at_server: set[int] = set()
        expected: list[int] = []
        for step, call_id in [*steps, ("take", 0)]:
            if step == "put" and call_id not in waiting | at_server:
                outbox.put(call_id, call_id)
                waiting.add(call_id)
            elif step == "cancel" and call_id in waiting:
                outbox.cancel(call_id)
                waiting.remove(call_id)
            elif step == "cancel" and call_id in at_server:
                outbox.cancel(call_id)
                at_server.remove(call_id)
                expected.append(call_id)
            elif step == "take":
                outbox.poke()
                calls, cancels, _ = await outbox.take()
                assert (set(calls), cancels) == (waiting, expected)
                at_server |= waiting
                waiting, expected = set(), []

    asyncio.run(play())
