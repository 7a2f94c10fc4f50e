"""Counters of what has happened since start; they only grow."""

from dataclasses import dataclass

from coordinator.records import JobOutcome, JobState, TextResult, decode_result
from gogrid.protocol.job_messages import PythonDone, TextDone


@dataclass(slots=True)
class Tally:
    accepted: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    dead: int = 0
    """Of the failed ones: jobs that were given up because they crash."""
    crashes: int = 0
    """Leases of durable jobs that ended by a crash."""
    fenced: int = 0
    """Ends of durable jobs that came too late: another lease had the job already."""
    tokens_in: int = 0
    tokens_out: int = 0

    def ended(self, outcome: JobOutcome) -> None:
        """Count a job's end and, if it has a result, its tokens."""
        if outcome.state is JobState.CANCELLED:
            self.cancelled += 1
        elif outcome.state is JobState.DONE:
            self.finished += 1
        else:
            self.failed += 1
            self.dead += outcome.state is JobState.DEAD
        if outcome.result:
            result = decode_result(outcome.result)
            if not isinstance(result, PythonDone):
                self.tokens_in += result.prompt_tokens
            if isinstance(result, TextDone | TextResult):
                self.tokens_out += result.completion_tokens
