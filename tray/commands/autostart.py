"""`autostart on|off|status`: start at login, which only the owner switches on."""

import argparse

from gogrid.arguments import CommandParser
from tray.autostart.choose import autostart
from tray.commands.base import Command, Context, say


def _words(parser: CommandParser) -> None:
    parser.add_argument("switch", choices=("on", "off", "status"), nargs="?", default="status")


def _run(options: argparse.Namespace, context: Context) -> int:
    login = autostart(context.places, context.named, context.launcher)
    if options.switch != "status":
        login.set(on=options.switch == "on")
    state = login.state()
    if isinstance(state, str):
        return say(options.json, {"autostart": None, "reason": state}, state)
    return say(options.json, {"autostart": state}, "starts at login" if state else "does not start at login")


AUTOSTART = Command("autostart", "Start at login, or not.", _words, _run)
