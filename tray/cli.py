"""`gogrid-worker`: run this machine as a worker, join a coordinator, ask how it is doing.

Exit codes are those of `gogrid.worker_exit`. Whatever needs the runner's own code happens in a process of its own; a
join token travels there by standard input, never on a command line.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from gogrid.arguments import CommandParser
from gogrid.config import nearest
from gogrid.errors import GoGridError
from gogrid.place_options import add_place_options, named_places
from gogrid.terminal import one_line
from gogrid.worker_exit import WorkerExit
from tray.app.run import run_app
from tray.commands.base import Context, FailedError, RefusedError
from tray.hidden_token import conceal
from tray.updating.start import begin, version


def main(arguments: Sequence[str] | None = None) -> int:
    parser = main_parser()
    words = conceal(sys.argv[1:]) if arguments is None else arguments
    options, rest = parser.parse_known_args(words)
    commanded = bool(rest) and not rest[0].startswith("-")
    try:
        places = named_places(options)
        if options.version:
            print(f"gogrid-worker {version(places)}")
            return 0
        updatable = begin(places, words, supervising=not commanded and not options.help)
        if isinstance(updatable, int):
            return updatable
        launcher = updatable.here.launcher if updatable is not None else None
        context = Context(places, _named(options), launcher)
        if commanded:
            return _command(parser, [*rest, *(["--help"] if options.help else [])], context)
        if options.help:
            parser.print_help()
            print(_commands_help())
            return 0
        return run_app(places, context.named, rest, updatable, headless=options.headless)
    except FailedError as error:
        return error.code
    except RefusedError as error:
        return _complain(str(error), WorkerExit.REFUSED)
    except GoGridError as error:
        return _complain(str(error), WorkerExit.CANNOT_RUN)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'this machine'}: {error.strerror or error}", WorkerExit.CANNOT_RUN)
    except KeyboardInterrupt:
        return WorkerExit.CANNOT_RUN


def _complain(sentence: str, code: int) -> int:
    """One line; what somebody else may have written in it does not steer the terminal."""
    print(f"gogrid-worker: {one_line(sentence)}", file=sys.stderr)
    return code


def _named(options: argparse.Namespace) -> tuple[str, ...]:
    named = (("--config", options.config), ("--data", options.data))
    return tuple(word for flag, value in named if value is not None for word in (flag, str(value)))


def main_parser() -> argparse.ArgumentParser:
    """Without positional words: what it does not know is a command, or an option of the runner."""
    parser = CommandParser(
        prog="gogrid-worker",
        usage="gogrid-worker [--config FILE] [--data FOLDER] [--headless] [SETTING …] | join TOKEN | status | …",
        description="Lend this machine's idle GPU to your own coordinator.",
        epilog="Without a command it shows its icon and works. Then every setting of config.toml is an option too,"
        " e.g. --max-vram 80% --device cpu."
        " Commands take --json.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.passes_on = True
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    parser.add_argument("--version", action="store_true", help="show which version runs here")
    add_place_options(parser)
    parser.add_argument("--headless", action="store_true", help="work without icon and window")
    return parser


def _commands_help() -> str:
    from tray.commands.registry import COMMANDS

    lines = (f"  {command.name:<10}  {command.help}" for command in COMMANDS.values())
    return "\n".join(("", "commands (each has --help and --json):", *lines))


def _command(parser: argparse.ArgumentParser, words: list[str], context: Context) -> int:
    from tray.commands.registry import COMMANDS, command_parser  # with libraries that a running app must not carry

    if words[0] not in COMMANDS:
        meant = nearest(words[0], list(COMMANDS))
        hint = f"did you mean {meant}?" if meant else f"use {', '.join(COMMANDS)}, or --headless to run"
        parser.error(f"there is no command {words[0]!r}; {hint}")
    command = COMMANDS[words[0]]
    return command.run(command_parser().parse_args([words[0], *command.arrange(words[1:])]), context)


if __name__ == "__main__":
    sys.exit(main())
