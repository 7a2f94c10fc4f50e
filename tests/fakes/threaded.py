"""A server that a test has beside it: it serves in a thread of its own for as long as it is entered."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Threaded(ABC):
    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @abstractmethod
    def _serve(self) -> None:
        """In the thread, until `_end`."""

    @abstractmethod
    def _end(self) -> None:
        """Make `_serve` return soon."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._thread.join(5)
