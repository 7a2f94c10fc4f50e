"""A small job's whole story on the control stream, instead of a stream of its own.

A stream costs both ends more than everything a small job has to say (`docs/adr/0015`). A story is what the stream would
have carried after `JobOpen`: framed messages, the last of them, and only that one, `Finished` or `Failed`.
"""

from gogrid.errors import ProtocolError
from gogrid.protocol.codec import decode_job
from gogrid.protocol.framing import HEADER_SIZE
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, JobOpen

STORY_BYTES = 4096
"""What a story may have; anything longer has a stream, with credit of its own."""


def read_story(story: bytes) -> list[JobMessage]:
    """The messages of a story, in order.

    Raises:
        ProtocolError: it is too long, cut short, or does not end with the job.
    """
    if len(story) > STORY_BYTES:
        raise ProtocolError(f"A story of {len(story)} bytes; {STORY_BYTES} are allowed.")
    messages: list[JobMessage] = []
    position = 0
    while position < len(story):
        body = position + HEADER_SIZE
        position = body + int.from_bytes(story[position:body], "big")
        if not body < position <= len(story):
            raise ProtocolError("A story is cut short, or has an empty frame.")
        message = decode_job(story[body:position])
        if isinstance(message, JobOpen) or (messages and isinstance(messages[-1], Finished | Failed)):
            raise ProtocolError(f"A {type(message).__name__} message has no place there in a story.")
        messages.append(message)
    if not messages or not isinstance(messages[-1], Finished | Failed):
        raise ProtocolError("A story does not end with the job.")
    return messages
