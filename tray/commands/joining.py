"""`join`: become a worker of a coordinator. The token travels to the runner by standard input."""

import argparse
import sys

from gogrid.arguments import CommandParser
from tray.commands.base import Command, Context, call


def _words(parser: CommandParser) -> None:
    parser.add_argument("token", help="the line that starts with ggj1_; - reads it from standard input")
    parser.add_argument("--name", help="what the coordinator should call this worker; default: its host name")


def _run(options: argparse.Namespace, context: Context) -> int:
    token = sys.stdin.readline(8192) if options.token == "-" else options.token  # noqa: S105
    name = ("--name", options.name) if options.name else ()
    code = call(context, "join", name, as_json=options.json, text=token.strip() + "\n")
    if code == 0 and not options.json:
        print(f"Next: gogrid-worker{''.join(f' {word}' for word in context.named)} --headless")
    return code


JOIN = Command("join", "Join a coordinator with a token.", _words, _run)
