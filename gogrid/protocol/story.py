"""A small job's whole story on the control stream, instead of a stream of its own.

A stream costs both ends more than everything a small job has to say (`docs/adr/0015`). A story is what the stream would
have carried after `JobOpen`: framed messages, the last of them, and only that one, `Finished` or `Failed`.
"""

from gogrid.errors import ProtocolError
from gogrid.protocol.codec import decode_job
from gogrid.protocol.framing import FrameDecoder
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
    decoder = FrameDecoder(STORY_BYTES)
    messages: list[JobMessage] = []
    for frame in decoder.feed(story):
        message = decode_job(frame)
        if isinstance(message, JobOpen) or (messages and isinstance(messages[-1], Finished | Failed)):
            raise ProtocolError(f"A {type(message).__name__} message has no place there in a story.")
        messages.append(message)
    if decoder.buffered or not messages or not isinstance(messages[-1], Finished | Failed):
        raise ProtocolError("A story does not end with the job.")
    return messages
