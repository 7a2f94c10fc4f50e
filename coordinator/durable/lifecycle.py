"""The life of a job as one table: what may happen to it in which state, and what it is afterwards.

Everything else is refused. The statements of `coordinator/store/job_statements.py` take their conditions from here, and
a test tries every event in every state on a real database.

Who may say so: a lease's events (`BEGIN`, `COMPLETE`, `GIVE_BACK`, `BURY`) are fenced by its epoch, and `COMPLETE` by
its worker too.
"""

from enum import Enum

from coordinator.records import JobState


class JobEvent(Enum):
    CLAIM = "claim"
    """A worker is chosen; the epoch goes up."""
    BEGIN = "begin"
    """The worker says that it has begun."""
    COMPLETE = "complete"
    """The lease's worker tells the end."""
    GIVE_BACK = "give_back"
    """The lease ended without a result, and the job is tried again."""
    BURY = "bury"
    """The lease ended without a result once too often."""
    CANCEL = "cancel"
    """Its submitter wants it no more."""
    FAIL = "fail"
    """No lease can finish it."""
    REVIVE = "revive"
    """Somebody wants it tried again after all; its crashes are forgotten, its epochs go on."""
    FORGET = "forget"
    """Its time is over."""


_LEASED = (JobState.LEASED, JobState.RUNNING)
_FINAL = (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.DEAD)

TRANSITIONS: dict[JobEvent, tuple[tuple[JobState, ...], tuple[JobState, ...]]] = {
    JobEvent.CLAIM: ((JobState.QUEUED,), (JobState.LEASED,)),
    JobEvent.BEGIN: (_LEASED, (JobState.RUNNING,)),
    JobEvent.COMPLETE: (_LEASED, (JobState.DONE, JobState.FAILED, JobState.CANCELLED)),
    JobEvent.GIVE_BACK: (_LEASED, (JobState.QUEUED,)),
    JobEvent.BURY: (_LEASED, (JobState.DEAD,)),
    JobEvent.CANCEL: ((JobState.QUEUED, *_LEASED), (JobState.CANCELLED,)),
    JobEvent.FAIL: ((JobState.QUEUED,), (JobState.FAILED,)),
    JobEvent.REVIVE: ((JobState.FAILED, JobState.DEAD), (JobState.QUEUED,)),
    JobEvent.FORGET: (_FINAL, ()),
}
"""(from which states, to which; none: the job is gone)."""

UNFINISHED = tuple(state for state in JobState if not state.final)


def before(event: JobEvent) -> tuple[JobState, ...]:
    """The states in which this may happen."""
    return TRANSITIONS[event][0]


def after(event: JobEvent, outcome: JobState | None = None) -> JobState:
    """The state afterwards; for `COMPLETE` it is the outcome's.

    Raises:
        ValueError: the event does not lead there.
    """
    allowed = TRANSITIONS[event][1]
    wanted = outcome if outcome is not None else next(iter(allowed), None)
    if wanted is None or wanted not in allowed:
        raise ValueError(f"{event.value} does not lead to {wanted.value if wanted else 'any state'}")
    return wanted
