"""Tokenizing is given up when it takes too long, and what breaks in it breaks nothing else."""

import threading
import time

import pytest

from gogrid.protocol.job_messages import FailCode
from runner.errors import JobError
from runner.executor.engines.patience import Patience


class PanicError(BaseException):
    """As pyo3's PanicException is: no Exception."""


def test_what_the_work_returns_or_raises_comes_out() -> None:
    patience = Patience(5.0)
    assert patience.wait_for(lambda: [1, 2], "prompt") == [1, 2]
    with pytest.raises(ZeroDivisionError):
        patience.wait_for(lambda: 1 // 0, "prompt")


def test_work_without_end_is_given_up_and_only_so_much_of_it_is_left_going_on() -> None:
    patience, end = Patience(0.05), threading.Event()
    for words in ("takes longer than 0.05 s", "takes longer than 0.05 s", "still busy"):
        with pytest.raises(JobError, match=words) as refusal:
            patience.wait_for(end.wait, "prompt")
        assert (refusal.value.code, refusal.value.param) == (FailCode.BAD_REQUEST, "prompt")
    end.set()
    assert Patience(5.0).wait_for(end.wait, "prompt")
    deadline = time.monotonic() + 5
    while threading.active_count() > 1 and any(thread.name == "tokenizer" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
    assert patience.wait_for(lambda: 3, "prompt") == 3, "when they have ended it goes on"


def test_a_panic_fails_only_the_work() -> None:
    def panic() -> None:
        raise PanicError("retry-limit-in-match over")

    with pytest.raises(JobError, match="cannot read this text") as refusal:
        Patience(5.0).wait_for(panic, "messages")
    assert refusal.value.code is FailCode.BAD_REQUEST
