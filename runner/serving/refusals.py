"""Models that this worker refuses for a while, because their process keeps crashing here (`models/crashes.py`)."""

import asyncio
import logging
from collections.abc import Callable

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.worker_report import RefusedModel
from runner.errors import ModelError
from runner.models.crashes import Crashes

log = logging.getLogger(__name__)


class Refusals:
    """Use from one event loop."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`clock`: monotonic seconds. `changed` is called when a refusal has ended."""
        self._clock, self._changed = clock, changed
        self._crashes = Crashes()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def models(self) -> tuple[RefusedModel, ...]:
        refused = self._crashes.refused(self._clock())
        return tuple(RefusedModel(digest=digest, reason=reason) for digest, reason in refused.items())

    def why(self, digest: Sha256) -> str:
        """In words; empty: the model is not refused now."""
        return self._crashes.refusal(digest, self._clock())

    def error(self, digest: Sha256) -> ModelError:
        """For who asks for a model that is refused."""
        return ModelError(f"This worker refuses the model for now: {self.why(digest)}.", FailCode.NO_ROOM)

    def answered(self, digest: Sha256) -> None:
        """It has served a request."""
        self._crashes.answered(digest)

    def crashed(self, digest: Sha256, why: str) -> None:
        """Args: why: completes "its process crashed"."""
        now = self._clock()
        self._crashes.crashed(digest, why, now)
        refusal, end = self._crashes.refusal(digest, now), self._crashes.next_end(now)
        if refusal and end is not None:
            log.error("model %s is refused for a while: %s", digest[:12], refusal)
            self.close()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, end - now), self._changed)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
