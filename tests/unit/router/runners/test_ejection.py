from services.router.runners.ejection import FIRST_SECONDS, FORGET_SECONDS, LAST_SECONDS, Ejection


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
