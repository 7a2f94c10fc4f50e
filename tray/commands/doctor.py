"""`doctor`: what works on this machine and what does not."""

import argparse

from tray.commands.base import Command, Context, call, nothing_more


def _run(options: argparse.Namespace, context: Context) -> int:
    return call(context, "doctor", (), as_json=options.json)


DOCTOR = Command(
    "doctor", "Check sandbox, device, coordinator, clock, disk, models, desktop and updates.", nothing_more, _run
)
