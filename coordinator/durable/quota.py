"""How many durable jobs may be unfinished: of one API key, and of all together. A core.

A key that has too many is told so by itself (`KeyLimitError`, 429); when all together are too many it is nobody's own
fault (`QueueFullError`, 503).
"""

from collections import Counter
from dataclasses import dataclass

from coordinator.errors import KeyLimitError, QueueFullError
from gogrid.ids import KeyId

RETRY_AFTER_S = 30
"""What is told to somebody who has too many jobs: jobs take their time."""


@dataclass(frozen=True, slots=True)
class DurableLimits:
    queued: int
    """How many durable jobs may be unfinished at once."""
    per_key: int
    """How many of them one API key may have."""


class Quota:
    """Counts what is unfinished."""

    def __init__(self, limits: DurableLimits) -> None:
        self._limits = limits
        self._owned: Counter[KeyId] = Counter()
        self._all = 0

    def refusal(self, owner: KeyId, jobs: int) -> KeyLimitError | QueueFullError | None:
        """Why this key may not submit so many more now; None: it may."""
        have = self._owned.get(owner, 0)
        if have + jobs > self._limits.per_key:
            return KeyLimitError(
                f"This key has {have} unfinished jobs and may have {self._limits.per_key}: try again when enough "
                "of them have ended.",
                RETRY_AFTER_S,
            )
        if self._all + jobs > self._limits.queued:
            return QueueFullError(
                f"{self._all} jobs are unfinished on the whole grid and {self._limits.queued} may be; try again later.",
                RETRY_AFTER_S,
            )
        return None

    def enter(self, owner: KeyId, jobs: int = 1) -> None:
        """So many more are unfinished, whatever the limits say."""
        self._owned[owner] += jobs
        self._all += jobs

    def leave(self, owner: KeyId) -> None:
        """One of them has ended."""
        self._all -= 1
        self._owned[owner] -= 1
        if not self._owned[owner]:
            del self._owned[owner]
