"""A job's log to its end, over as many connections as it takes.

Promises: every piece once and in order, the ended job last; a broken connection is taken up again where it broke, for
`PATIENCE_S` without any news, before its error leaves.
"""

import contextlib
import time
from collections.abc import Callable, Generator

from gogrid.client.answers import Job, LogPiece
from gogrid.client.client import GoGrid
from gogrid.client.errors import AnswerError, RefusedError, UnreachableError
from gogrid.protocol.job_messages import LINES_PER_LEASE

PATIENCE_S = 120.0
_ENDED = {
    "owner_returned": "its worker's owner took the machine back",
    "yielded": "its worker gave it back",
    "vanished": "its worker was lost",
    "fenced": "its worker could not reach the coordinator",
}
_PAUSES_S = (0.5, 1.0, 2.0, 5.0)


def follow(client: GoGrid, job_id: str, say: Callable[[str], None]) -> Generator[LogPiece | Job, None, None]:
    """Raises: RefusedError at once; UnreachableError, AnswerError when the patience has run out."""
    after, tries, since = 0, 0, time.monotonic()
    while True:
        try:
            with contextlib.closing(client.logs(job_id, after=after)) as pieces:
                for piece in pieces:
                    tries, since = 0, time.monotonic()
                    if isinstance(piece, Job):
                        yield piece
                        return
                    if after and piece.seq // LINES_PER_LEASE != after // LINES_PER_LEASE:
                        say(f"gogrid: {_begun_again(client, job_id, after // LINES_PER_LEASE)}")
                    after = piece.seq
                    yield piece
        except (UnreachableError, AnswerError, RefusedError) as error:
            final = isinstance(error, RefusedError) and error.status not in (0, 502, 503, 504)
            if final or time.monotonic() - since > PATIENCE_S:
                raise
            if tries == 1:
                say("gogrid: the connection broke; trying again. The job goes on.")
        time.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
        tries += 1


def _begun_again(client: GoGrid, job_id: str, epoch: int) -> str:
    """Why the try of this number came to nothing, and where the job is now; as far as the coordinator says it."""
    why, where = "its try came to nothing", ""
    with contextlib.suppress(UnreachableError, AnswerError, RefusedError):
        job = client.job(job_id)
        where = f" on {job.worker_name or job.worker}" if job.worker is not None else ""
        ended = next((one for one in job.history or () if one.epoch == epoch), None)
        if ended is not None:
            why = _ENDED.get(ended.ended, "what ran it died" if ended.ended.startswith("crashed") else why)
            why += f" ({ended.why.rstrip('. ')})" if ended.why else ""
    return f"{why}; it starts again{where}, and so does its output."
