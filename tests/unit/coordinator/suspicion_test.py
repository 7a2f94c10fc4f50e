"""When a request that was lost with its worker is tried alone, and when it is given up."""

from coordinator.interactive.suspicion import ATTEMPTS, IN_COMPANY, Suspicion


def test_who_died_in_company_before_it_got_on_is_tried_alone_and_not_blamed() -> None:
    suspicion = Suspicion()
    assert [suspicion.lost(progressed=False, blame=True) for _ in range(ATTEMPTS - 1)] == [False] * (ATTEMPTS - 1)
    assert not suspicion.crashed(progressed=False, in_company=True)
    assert suspicion.alone


def test_who_died_in_company_while_it_got_on_stays_among_others_but_not_for_ever() -> None:
    suspicion = Suspicion()
    said = [(suspicion.crashed(progressed=True, in_company=True), suspicion.alone) for _ in range(IN_COMPANY)]
    assert said == [(False, False)] * (IN_COMPANY - 1) + [(False, True)]


def test_what_dies_alone_again_and_again_is_given_up_even_if_it_gets_on_each_time() -> None:
    suspicion = Suspicion()
    suspicion.crashed(progressed=False, in_company=True)
    ends = [suspicion.crashed(progressed=True, in_company=False) for _ in range(ATTEMPTS)]
    assert ends == [False] * (ATTEMPTS - 1) + [True]


def test_a_worker_that_says_in_company_for_ever_is_not_believed() -> None:
    suspicion = Suspicion()
    ends = [suspicion.crashed(progressed=False, in_company=True) for _ in range(1 + ATTEMPTS)]
    assert ends == [False] * ATTEMPTS + [True]


def test_a_single_request_that_gets_on_between_crashes_goes_on() -> None:
    suspicion = Suspicion()
    assert not any(suspicion.crashed(progressed=True, in_company=False) for _ in range(3 * ATTEMPTS))
    assert not suspicion.alone
