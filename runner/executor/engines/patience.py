"""A library's work on a stranger's text, waited for only so long: a tokenizer's expressions are its author's.

Promises: the caller goes on after `seconds`, whatever the work does, as long as the library lets go of the
interpreter, as tokenizers do; a library that panics fails only this piece of work. What is given up goes on in its
thread until it ends by itself, because nothing can stop it; while `_MOST_LEFT` of these go on, more is refused at once.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from gogrid.protocol.job_messages import FailCode
from runner.errors import JobError

T = TypeVar("T")
_MOST_LEFT = 2


class Patience:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left: list[threading.Thread] = []

    def wait_for(self, work: Callable[[], T], param: str) -> T:
        """What `work` returns.

        Args:
            work: runs in a thread of its own; its exceptions are raised here.
            param: the part of the request that it is about.

        Raises:
            JobError: it took too long, the library broke, or others are still at it.
        """
        self._left = [thread for thread in self._left if thread.is_alive()]
        if len(self._left) >= _MOST_LEFT:
            raise _refuse("is still busy with texts that it takes too long for", param)
        piece = _Piece(work)
        thread = threading.Thread(target=piece.run, name="tokenizer", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            self._left.append(thread)
            raise _refuse(f"takes longer than {self._seconds:g} s for this text", param)
        if isinstance(piece.failed, Exception):
            raise piece.failed
        if piece.failed is not None:
            raise _refuse("cannot read this text", param) from piece.failed
        return piece.result[0]


class _Piece(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.result: list[T] = []
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - a Rust library's panic is no Exception
            self.failed = error


def _refuse(what: str, param: str) -> JobError:
    return JobError(f"The model's tokenizer {what}.", FailCode.BAD_REQUEST, param)
