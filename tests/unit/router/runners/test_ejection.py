from services.router.runners.ejection import (
    FIRST_SECONDS,
    FIRST_STALL_SECONDS,
    FORGET_SECONDS,
    FORGET_STALL_SECONDS,
    LAST_SECONDS,
    Ejection,
)


def test_each_failure_doubles_the_time_out_up_to_a_bound() -> None:
    ejection = Ejection()
    times = [ejection.fail(now=100.0 + second) for second in range(12)]
    assert times[:3] == [FIRST_SECONDS, FIRST_SECONDS * 2, FIRST_SECONDS * 4]
    assert times[-1] == LAST_SECONDS


def test_a_good_while_clears_the_record() -> None:
    ejection = Ejection()
    ejection.fail(now=100.0)
    ejection.fail(now=101.0)
    assert ejection.fail(now=101.1 + FORGET_SECONDS) == FIRST_SECONDS


def test_the_second_request_without_progress_puts_a_runner_out_for_long() -> None:
    ejection = Ejection()
    assert ejection.stall(now=100.0) == FIRST_SECONDS
    # Their bounds of silence lie between them, and they count together all the same.
    assert ejection.stall(now=100.0 + 10 * FORGET_SECONDS) == FIRST_STALL_SECONDS


def test_requests_that_were_under_way_do_not_lengthen_the_time_out() -> None:
    ejection = Ejection()
    ejection.stall(now=100.0)
    ejection.stall(now=100.0)
    assert [ejection.stall(now=100.0 + second) for second in range(3)] == [FIRST_STALL_SECONDS - n for n in range(3)]
    assert ejection.stall(now=100.0 + FIRST_STALL_SECONDS) == 2 * FIRST_STALL_SECONDS


def test_requests_without_progress_are_forgotten_in_time() -> None:
    ejection = Ejection()
    ejection.stall(now=100.0)
    ejection.stall(now=100.0)
    assert ejection.stall(now=101.0 + FORGET_STALL_SECONDS) == FIRST_SECONDS
