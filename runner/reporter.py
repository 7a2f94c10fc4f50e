"""Tells the coordinator what changed, in few messages: what matters for placement at once, the rest within a second.

Promises: a report that cannot be sent does not end the telling: a bare one goes in its place, and the log says why.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from gogrid.errors import ProtocolError
from gogrid.protocol.worker_report import WorkerReport
from runner.worker_report import bare

log = logging.getLogger(__name__)
_SOON_S = 0.02
_LATER_S = 1.0


class Reporter:
    """Use from one event loop."""

    def __init__(self, tell: Callable[[WorkerReport], None], report: Callable[[], WorkerReport]) -> None:
        """`tell` keeps the last report and repeats it to every new session; raises `ProtocolError` for one too long."""
        self._send, self._report = tell, report
        self._sent: WorkerReport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Something may be new."""
        delay = _LATER_S if self._sent is not None and _same_but_load(self._sent, self._report()) else _SOON_S
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._tell)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        report = self._report()
        if report == self._sent:
            return
        for message in (report, bare(report)):
            try:
                self._send(message)
            except ProtocolError as error:
                log.error("the coordinator cannot be told everything of this worker: %s", error)
            else:
                self._sent = report
                return


def _same_but_load(one: WorkerReport, other: WorkerReport) -> bool:
    """Whether they differ in nothing but how many requests run and how far models are with loading."""
    return _without_load(one) == _without_load(other)


def _without_load(report: WorkerReport) -> WorkerReport:
    quiet = tuple(msgspec.structs.replace(model, running=0) for model in report.loaded)
    same = tuple(msgspec.structs.replace(model, fraction=0.0, eta_s=0.0) for model in report.loading)
    return msgspec.structs.replace(report, loaded=quiet, loading=same)
