"""`bench`: measures this machine while its worker rests, so that neither disturbs the other."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gogrid.sizes import format_size
from runner.control_messages import AskPause, AskResume, AskStatus, WorkerStatus
from tray.commands.base import Command, Context, RefusedError, fetch, maybe_running, nothing_more, running, say

_LONGEST_S = 600.0
"""A measurement that was cut short leaves the worker paused for no longer."""


class Speed(msgspec.Struct, frozen=True):
    """As the runner prints it; more fields may come."""

    device: str
    engine: str
    tokens_per_s: float
    stream_tokens_per_s: float
    memory_bandwidth: float


def _run(options: argparse.Namespace, context: Context) -> int:
    joined = context.places.membership.exists()
    with _at_rest(context) as connected:
        found = fetch(context, ("bench",))
    speed = msgspec.json.decode(found, type=Speed)
    lines = (
        f"Device   {speed.device} ({speed.engine})",
        f"Tokens   {speed.tokens_per_s:.1f}/s for eight answers at once, {speed.stream_tokens_per_s:.1f}/s for one",
        f"Memory   {format_size(round(speed.memory_bandwidth))}/s",
        who_is_told(joined=joined, connected=connected),
    )
    return say(options.json, msgspec.Raw(found.strip()), "\n".join(lines))


def who_is_told(*, joined: bool, connected: bool) -> str:
    """Args: connected: the running worker is; False, too, where none runs."""
    later = (
        "will be told once this worker is connected to it" if joined else "will be told once this worker has joined one"
    )
    when = "is told" if joined and connected else later
    return f"The coordinator {when}, and prefers the faster of two workers that are equal otherwise."


@contextmanager
def _at_rest(context: Context) -> Iterator[bool]:
    """The running worker is paused meanwhile, unless it is anyway; whether one runs and is connected.

    Raises:
        RefusedError: it has work.
    """
    status = maybe_running(context, AskStatus())
    connected = isinstance(status, WorkerStatus) and status.connected
    if not isinstance(status, WorkerStatus) or status.order:
        yield connected
        return
    if status.jobs:
        raise RefusedError(
            "The worker has work now, which comes first; try again later, or pause it: gogrid-worker pause"
        )
    running(context, AskPause(reason="measuring its speed", until=time.time() + _LONGEST_S))
    try:
        yield connected
    finally:
        running(context, AskResume())


BENCH = Command(
    "bench", "Measure this machine's tokens a second and its memory, for the coordinator.", nothing_more, _run
)
