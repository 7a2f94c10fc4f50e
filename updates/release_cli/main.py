"""`gogrid-release`: make keys, sign releases, check them. Works offline.

Exit codes: 0 done, 1 refused, 2 wrong usage or cannot run. Whatever goes wrong is one line on standard error.
"""

import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from updates.errors import FolderError, TrustError, UpdateError
from updates.release_cli.shell import Handler, Parser, Shell, complain

DONE, REFUSED, CANNOT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        args = _parser().parse_args(arguments)
        handler: Handler = args.handler
        return handler(args, Shell(now=time.time(), as_json=bool(args.json)))
    except TrustError as error:
        complain(f"refused ({error.alarm.value}): {error}")
        return REFUSED
    except FolderError as error:
        complain(str(error))
        return CANNOT
    except UpdateError as error:
        complain(str(error))
        return REFUSED
    except ModuleNotFoundError as error:
        if error.name != "minisign":
            raise
        complain("The package py-minisign is missing here; install this program with: pip install 'gogrid[updates]'")
        return CANNOT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return DONE
    except (OSError, UnicodeDecodeError) as error:
        reason, place = (error.strerror, error.filename) if isinstance(error, OSError) else (str(error), None)
        complain(f"{reason or error}{f': {place}' if place else ''}.")
        return CANNOT
    except KeyboardInterrupt:
        complain("Interrupted.")
        return CANNOT


def _parser() -> Parser:
    # Here, so that a missing package is told in words.
    from updates.release_cli import engine_pack, keygen, keys, sign, timestamp, verify

    parser = Parser(prog="gogrid-release", description="Signs releases of GoGrid, offline.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"gogrid-release {_version()}")
    parser.add_argument("--json", action="store_true", default=False, help="print one JSON value")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (keygen, keys, sign, timestamp, verify, engine_pack):
        module.add(commands)
    return parser


def _version() -> str:
    try:
        return version("gogrid")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
