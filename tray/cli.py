"""`gogrid-worker`: run this machine as a worker, join a coordinator, ask how it is doing.

Exit codes: 0 done, 1 refused or something is wrong, 2 wrong usage or cannot run. Whatever needs the runner's own code
happens in a process of its own; a join token travels there by standard input, never on a command line.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

import gogrid
from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.places import WorkerPlaces, worker_places
from runner.control_messages import Ask, AskPause, AskReload, AskResume, AskStatus, Done, Refused, WorkerStatus
from tray.control_client import NotRunningError, ask
from tray.restart import CANNOT_RUN
from tray.runner_command import runner_command
from tray.status_text import status_text
from tray.supervisor import Supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    places = worker_places(
        config=options.config,
        data=options.data,
        environment=os.environ,
        platform=sys.platform,
        home=Path.home(),
        user=os.getuid() if hasattr(os, "getuid") else 0,
    )
    shared = ["--config", str(places.config), "--data", str(places.data)]
    try:
        if rest and not rest[0].startswith("-"):
            words = [*rest[1:], *(["--help"] if options.help else [])]
            code = _command(parser, rest[0], words, places, shared)
            if rest[0] == "join" and code == 0 and "--json" not in words:
                print(f"Next: gogrid-worker{_given(options)} --headless")
            return code
        if options.help:
            parser.print_help()
            return 0
        return _supervise(places, shared, rest, headless=options.headless)
    except GoGridError as error:
        print(f"gogrid-worker: {error}", file=sys.stderr)
        return CANNOT_RUN
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 0
    except OSError as error:
        print(f"gogrid-worker: {error.filename or 'this machine'}: {error.strerror or error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return CANNOT_RUN


def _given(options: argparse.Namespace) -> str:
    """The places that were named on the command line, for a command that is printed."""
    named = (("--config", options.config), ("--data", options.data))
    return "".join(f" {flag} {value}" for flag, value in named if value is not None)


def _parser() -> argparse.ArgumentParser:
    """Without positional words: what it does not know is a command, or an option of the runner."""
    parser = CommandParser(
        prog="gogrid-worker",
        usage="gogrid-worker [--config FILE] [--data FOLDER] --headless [SETTING …] | join TOKEN | status | pause | …",
        description="Lend this machine's idle GPU to your own coordinator.",
        epilog="With --headless every setting of config.toml is an option too, e.g. --max-vram 80% --device cpu."
        " Commands take --json.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    parser.add_argument("--version", action="version", version=f"gogrid-worker {gogrid.__version__}")
    parser.add_argument("--config", type=Path, help="config.toml to use")
    parser.add_argument("--data", type=Path, help="folder for state, models and logs")
    parser.add_argument("--headless", action="store_true", help="run without a desktop")
    return parser


def _command(
    parser: argparse.ArgumentParser, name: str, words: list[str], places: WorkerPlaces, shared: list[str]
) -> int:
    if name not in _COMMANDS:
        parser.error(f"there is no command {name!r}; use {', '.join(_COMMANDS)}, or --headless to run")
    own = CommandParser(prog=f"gogrid-worker {name}", description=_COMMANDS[name], allow_abbrev=False)
    if name == "join":
        own.add_argument("token", help="the line that starts with ggj1_; - reads it from standard input")
        own.add_argument("--name", help="what the coordinator should call this worker; default: its host name")
    if name == "config":
        own.add_argument("setting", nargs="?", help="max_vram, max_ram, …; without it all settings are shown")
        own.add_argument("value", nargs="?", help="80%% or 6GB, for the two limits")
    own.add_argument("--json", action="store_true", help="machine-readable output")
    options = own.parse_args(words)
    flags = [*shared, *(["--json"] if options.json else [])]
    if name == "status":
        return _status(places, as_json=options.json)
    if name in _ORDERS:
        return _order(places, *_ORDERS[name], as_json=options.json)
    if name == "config":
        if options.setting is not None and options.value is None:
            own.error(f"give a value for {options.setting}, or nothing at all to see the settings")
        words = [] if options.setting is None else [options.setting, options.value]
        return _config(places, ["config", *flags, "--", *words], changes=bool(words))
    if name == "doctor":
        return _call(["doctor", *flags])
    return _join(options.token, [*flags, *(["--name", options.name] if options.name else [])])


_COMMANDS = {
    "join": "Join a coordinator with a token.",
    "status": "What the running worker does, and why.",
    "pause": "Take no new jobs; what runs goes on on other workers, at once.",
    "finish": "Take no new jobs; what runs ends here.",
    "resume": "Take jobs again.",
    "config": "Show the settings, or write one; a running worker takes up a new memory limit at once.",
    "doctor": "Check sandbox, device, coordinator, clock and disk.",
}
_ORDERS: dict[str, tuple[Ask, str]] = {
    "pause": (AskPause(), "paused"),
    "finish": (AskPause(reason="taking nothing new, as its owner asked", finish=True), "finishing"),
    "resume": (AskResume(), "resumed"),
}


def _status(places: WorkerPlaces, *, as_json: bool) -> int:
    answer = ask(places.control, AskStatus())
    if not isinstance(answer, WorkerStatus):
        raise GoGridError(f"The worker answers with {type(answer).__name__} instead of its status.")
    print(msgspec.json.format(msgspec.json.encode(answer)).decode() if as_json else status_text(answer))
    return 0


def _order(places: WorkerPlaces, order: Ask, done: str, *, as_json: bool) -> int:
    answer = ask(places.control, order)
    if isinstance(answer, Refused):
        raise GoGridError(f"The worker refuses: {answer.reason}")
    if not isinstance(answer, Done):
        raise GoGridError(f"The worker answers with {type(answer).__name__} to an order.")
    print(msgspec.json.encode({"state": done}).decode() if as_json else done)
    return 0


def _config(places: WorkerPlaces, arguments: list[str], *, changes: bool) -> int:
    code = _call(arguments)
    if code or not changes:
        return code
    try:
        answer = ask(places.control, AskReload())
    except NotRunningError:
        return 0  # there is nobody to tell
    if isinstance(answer, Refused):
        raise GoGridError(f"The running worker keeps its settings: {answer.reason}")
    return 0


def _join(token: str, arguments: list[str]) -> int:
    if token == "-":  # noqa: S105  # the usual name of standard input
        token = sys.stdin.readline(8192)
    return _call(["join", *arguments], token.strip() + "\n")


def _call(arguments: list[str], text: str = "") -> int:
    """Run one of the runner's own commands; it writes to our output."""
    return subprocess.run(runner_command(arguments), input=text, text=True, check=False).returncode


def _supervise(places: WorkerPlaces, shared: list[str], rest: list[str], *, headless: bool) -> int:
    if not headless:
        raise GoGridError(
            "The tray icon comes with the desktop release of GoGrid; run this worker with: gogrid-worker --headless"
        )

    async def run() -> int:
        return await Supervisor(runner_command(["run", *shared, *rest]), places.logs).run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
