"""How far a streamed answer has come, so that another worker can go on with it. Pure.

Promises: what a worker has said and was handed to the client is counted once, and a task that goes on carries exactly
that; the memory is bounded by the model's context, whatever a worker sends.
"""

from array import array

import msgspec

from gogrid.protocol.framing import MAX_FRAME
from gogrid.protocol.job_messages import Tokens
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, Resume, ResumeMode

_BYTES_OF_AN_ID = 5
_ROOM_AROUND = 4096
"""For what an assignment says beside its task."""


class HalfSaid:
    """What of one answer the client has been given."""

    def __init__(self, task: ChatTask | CompletionTask | EmbeddingTask, mode: ResumeMode, context_length: int) -> None:
        self._task = task
        self._mode = mode
        self._most = context_length
        self._ids = array("i")
        self.begun = False
        """Whether anything of the answer itself was handed out."""
        self.midway = False
        """Between two pieces of one text: no token ids name this place, so that nobody can go on from it."""

    @property
    def count(self) -> int:
        """Token ids handed out."""
        return len(self._ids)

    @property
    def can_move(self) -> bool:
        """Whether another worker could go on with it: the request and what was said of it fit into one assignment."""
        said = len(self._ids) * _BYTES_OF_AN_ID
        return said + len(msgspec.msgpack.encode(self._task)) + _ROOM_AROUND <= MAX_FRAME

    def take(self, tokens: Tokens) -> bool:
        """The next piece goes to the client; False if it cannot be right: more than the context, or no token ids."""
        before = len(self._ids)
        if before + len(tokens.token_ids) > self._most:
            return False
        try:
            self._ids.extend(tokens.token_ids)
        except OverflowError:
            del self._ids[before:]
            return False
        self.begun, self.midway = True, tokens.more
        return True

    def task(self) -> ChatTask | CompletionTask | EmbeddingTask:
        """What is left to do."""
        if not self.begun or isinstance(self._task, EmbeddingTask):
            return self._task
        return msgspec.structs.replace(self._task, resume=Resume(token_ids=tuple(self._ids), mode=self._mode))
