"""`status`: what the running worker does, and why."""

import argparse

from runner.control_messages import AskStatus, WorkerStatus
from tray.commands.base import Command, Context, nothing_more, running, say, unexpected
from tray.commands.status_text import status_text


def _run(options: argparse.Namespace, context: Context) -> int:
    answer = running(context, AskStatus())
    if not isinstance(answer, WorkerStatus):
        raise unexpected(answer)
    return say(options.json, answer, status_text(answer))


STATUS = Command("status", "What the running worker does, and why.", nothing_more, _run)
