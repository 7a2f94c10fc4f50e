"""How far a model is that cannot serve yet, and how long a request waits for it. A core.

Promises: a request waits for as long as its client wants; without a wish it waits while loading gets on, however long
that takes, up to a maximum; what nobody has measured is not known rather than guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import Progress
from gogrid.protocol.worker_report import LoadingModel, LoadStage, WorkerReport

_ALIVE = frozenset({LoadStage.CONVERTING, LoadStage.LOADING})
"""Stages that the worker itself watches: it says so as long as they get on."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Of one model at one worker."""

    stage: LoadStage
    progress: float
    """0..1 of this stage."""
    eta_s: float | None
    """Seconds until it can serve; None: not known."""

    @property
    def in_words(self) -> str:
        return self.stage.value if self.stage is LoadStage.QUEUED else f"{self.stage.value} {self.progress:.0%}"


NOT_BEGUN = Loading(LoadStage.QUEUED, 0.0, None)


def loading_of(told: Progress | LoadingModel) -> Loading:
    return Loading(told.stage, min(1.0, max(0.0, told.fraction)), told.eta_s if told.eta_s >= 0 else None)


def nearest(model: Sha256, reports: Iterable[WorkerReport]) -> Loading | None:
    """Of the workers on which the model is on its way, the one that is farthest."""
    order = list(LoadStage)
    found = [loading_of(one) for report in reports for one in report.loading if one.digest == model]
    return max(found, key=lambda one: (order.index(one.stage), one.progress), default=None)


def got_on(before: Loading | None, now: Loading | None) -> bool:
    """Whether what is seen now shows that loading gets on."""
    if now is None or now.stage is LoadStage.QUEUED:
        return False
    return before is None or now.stage is not before.stage or now.progress > before.progress or now.stage in _ALIVE


@dataclass(frozen=True, slots=True)
class Wait:
    """What a client says about waiting for its answer to begin."""

    seconds: float | None = None
    """None: as long as loading gets on; 0: not at all."""


@dataclass(frozen=True, slots=True)
class WaitLimits:
    patience_s: float
    """How long a request waits while nothing gets on."""
    longest_s: float
    """How long it waits at most."""


class Patience:
    """Of one request, from `now` on. Times are monotonic seconds."""

    def __init__(self, wait: Wait, limits: WaitLimits, now: float) -> None:
        self._wait, self._limits = wait, limits
        self._last: Loading | None = None
        self._end = now + limits.longest_s
        if wait.seconds is not None:
            self._end = now + min(wait.seconds, limits.longest_s)
        self.until = min(self._end, now + limits.patience_s) if wait.seconds is None else self._end

    def seen(self, loading: Loading | None, now: float) -> None:
        """What is known of the model's loading."""
        if self._wait.seconds is None and got_on(self._last, loading):
            self.until = min(self._end, now + self._limits.patience_s)
        self._last = loading if loading is not None else self._last
