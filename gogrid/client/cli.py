"""The `gogrid` command.

Promises: every failure is one sentence on standard error, never a traceback; exit codes are those of `shell.Exit`.
A new command is a module of `gogrid.client.commands` with an `add` function, named in `_COMMANDS`.
"""

import os
import sys
from collections.abc import Mapping, Sequence

import gogrid
from gogrid.arguments import CommandParser, parse
from gogrid.client.commands import chat, demo, jobs, listings, login, run
from gogrid.client.errors import ClientError, NotTextError, ProfileError, RefusedError, UnreachableError
from gogrid.client.shell import Action, Exit, UsageError, standard_shell

_COMMANDS = (login, chat, run, jobs, listings, demo)
_CODES = ((ProfileError, "cannot"), (UnreachableError, "unreachable"))
"""What `--json` calls a failure that is not the coordinator's refusal; `failed` otherwise."""
_EPILOG = (
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage or no way to the coordinator; `run` ends with the script's "
    "own code, or 125 when GoGrid itself failed."
)


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parse(parser(), sys.argv[1:] if argv is None else argv)
    shell = standard_shell(os.environ if environment is None else environment, arguments.json)
    action: Action = arguments.action
    try:
        return action(arguments, shell)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.REFUSED
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        shell.failure(f"{error.filename or 'The output'} cannot be used: {error.strerror or error}.", "cannot")
        return arguments.failure or Exit.CANNOT
    except (UsageError, NotTextError) as error:
        shell.failure(str(error), "usage")
        return Exit.CANNOT
    except RefusedError as error:
        again = f" Try again in {error.retry_after_s} s." if error.retry_after_s is not None else ""
        shell.failure(str(error) + again, error.code)
        return arguments.failure or Exit.REFUSED
    except ClientError as error:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
        shell.failure(str(error), code)
        return arguments.failure or (Exit.REFUSED if code == "failed" else Exit.CANNOT)


def parser() -> CommandParser:
    """The whole command line; also what the documentation is checked against."""
    top = CommandParser(
        prog="gogrid", description="Ask models and run Python on your own grid.", epilog=_EPILOG, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"gogrid {gogrid.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
