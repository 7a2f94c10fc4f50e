"""What a person who waits for a job is told: why no worker has it, again whenever that changes.

`Reasons` decides, without a clock; `told` asks the coordinator from a thread of its own until its block ends.
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gogrid.client.answers import Job
from gogrid.client.errors import ClientError
from gogrid.client.shell import Shell
from gogrid.client.tables import span

_PATIENCE_S = 1.5
_LOOK_S = 2.0
_SELDOM_S = 10.0
"""While it runs: it comes back only if its worker goes."""
_FIGURES = re.compile(r"(?<![\w.-])[0-9]+(\.[0-9]+)?")


class Reasons:
    """Gives a sentence for each reason, not for each percent or second in it."""

    def __init__(self) -> None:
        self._told = ""

    def sentence(self, job: Job) -> str | None:
        """What is new to say of a job that waits; None if nothing is."""
        if job.state == "running":
            self._told = ""
        if job.state != "queued":
            return None
        why = "; ".join(job.waiting_for) or "all workers are busy"
        kind = _FIGURES.sub("", why)
        if kind == self._told:
            return None
        self._told = kind
        start = "" if job.estimated_start_s is None else f", starts in about {span(max(1.0, job.estimated_start_s))}"
        return f"{job.id} waits{start} ({why}). Ctrl-C cancels it."


@contextmanager
def told(shell: Shell, job_id: str) -> Iterator[None]:
    """While the block runs, say what the job waits for, if it does so for a while."""
    over = threading.Event()
    threading.Thread(target=_tell, args=(shell, job_id, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _tell(shell: Shell, job_id: str, over: threading.Event) -> None:
    reasons, pause = Reasons(), _PATIENCE_S
    if over.wait(pause):
        return
    with contextlib.suppress(ClientError), shell.client() as client:
        while True:
            try:
                job = client.job(job_id)
            except ClientError:
                # It is only advice: whoever follows the job says what is wrong.
                pause = _SELDOM_S
            else:
                pause = _LOOK_S if job.state == "queued" else _SELDOM_S
                sentence = reasons.sentence(job)
                if sentence is not None and not over.is_set():
                    shell.note(f"gogrid: {sentence}")
            if over.wait(pause):
                return
