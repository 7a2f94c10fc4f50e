"""Counters of what has happened since start; they only grow."""

from dataclasses import dataclass

import msgspec

from coordinator.records import JobOutcome, JobState
from gogrid.protocol.messages import EmbeddingDone, PythonDone, TextDone

_decoder = msgspec.msgpack.Decoder(TextDone | EmbeddingDone | PythonDone)


@dataclass(slots=True)
class Tally:
    accepted: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
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
        if outcome.result:
            result = _decoder.decode(outcome.result)
            if not isinstance(result, PythonDone):
                self.tokens_in += result.prompt_tokens
            if isinstance(result, TextDone):
                self.tokens_out += result.completion_tokens
