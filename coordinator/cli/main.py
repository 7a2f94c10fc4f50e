"""`gogrid-coordinator`: the admin's commands.

Exit codes: 0 done, 1 refused, 2 wrong usage or cannot run. Whatever goes wrong is one line on standard error.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import gogrid
from coordinator.cli import backup, doctor, init, keys, models, releases, serve, tokens, workers
from coordinator.cli.output import complain
from coordinator.cli.shell import Handler, Shell, everywhere
from coordinator.config import DATA_VARIABLE, state_folder
from coordinator.errors import StateError
from gogrid.arguments import CommandParser
from gogrid.errors import ConfigError, GoGridError, IdentityError
from gogrid.extras import not_installed
from gogrid.typed import typed

DONE, REFUSED, CANNOT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        args = _parser().parse_args(arguments)
        handler: Handler = args.handler
        return handler(args, _shell(args))
    except (ConfigError, StateError, IdentityError) as error:
        complain(str(error))
        return CANNOT
    except GoGridError as error:
        complain(str(error))
        return REFUSED
    except ModuleNotFoundError as error:
        complain(not_installed(error, "coordinator"))
        return CANNOT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return DONE
    except OSError as error:
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
        return CANNOT
    except KeyboardInterrupt:
        complain("Interrupted.")
        return CANNOT


def _shell(args: argparse.Namespace) -> Shell:
    is_root = os.name == "posix" and os.geteuid() == 0
    return Shell(
        folder=state_folder(args.data, os.environ, Path.home(), sys.platform, is_root),
        environment=os.environ,
        now=time.time(),
        as_json=bool(args.json),
        data_flag=f" {typed(('--data', args.data))}" if args.data else "",
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="gogrid-coordinator",
        description="Runs a private inference network from idle GPUs, and administers it.",
        epilog=f"The state folder is --data, else ${DATA_VARIABLE}, else the platform's own place.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gogrid-coordinator {gogrid.__version__}")
    everywhere(parser, None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (init, serve, tokens, workers, keys, models, releases, backup, doctor):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
