"""`python -m runner`: run the worker, or one of the errands that need the runner's own code.

Started by `gogrid-worker`, whose name its messages bear. Logs lines to standard error; secrets are in none of them.
Exit codes: 0 done, 1 refused or something is wrong, 2 wrong usage or cannot run.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.extras import not_installed
from gogrid.places import WorkerPlaces, worker_places
from runner.config import SETTINGS, WorkerConfig, load_config
from runner.errors import LinkError
from runner.watch import end_with

_FLAGGED = tuple(setting for setting in SETTINGS if not setting.key.startswith("updates."))
REFUSED = 1
CANNOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.words and options.errand != "config":
        parser.error(f"unexpected words: {' '.join(options.words)}")
    if options.supervised_by is not None:
        end_with(options.supervised_by)
    places = worker_places(
        config=options.config,
        data=options.data,
        environment=os.environ,
        platform=sys.platform,
        home=Path.home(),
        user=os.getuid() if hasattr(os, "getuid") else 0,
    )
    try:
        if options.errand == "config":
            return _config(places, options.words, _flags(options), as_json=options.json)

        def load() -> WorkerConfig:
            return load_config(places, flags=_flags(options), environment=os.environ)

        config = load()
        if options.errand == "join":
            return _join(config, places, as_json=options.json)
        if options.errand == "doctor":
            return _doctor(config, places, as_json=options.json)
        return _run(load, config.log_level, places)
    except LinkError as error:
        return _say(error, REFUSED)
    except GoGridError as error:
        return _say(error, CANNOT_RUN)
    except ModuleNotFoundError as error:
        return _say(not_installed(error, "worker"), CANNOT_RUN)
    except KeyboardInterrupt:
        return CANNOT_RUN


def _run(load: Callable[[], WorkerConfig], log_level: str, places: WorkerPlaces) -> int:
    from runner.app import run

    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for chatty in ("httpx", "httpcore", "asyncio", "quic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(run(load, places))
    return 0


def _join(config: WorkerConfig, places: WorkerPlaces, *, as_json: bool) -> int:
    import msgspec

    from runner.link.joining import join_with

    result = asyncio.run(join_with(sys.stdin.readline(8192), config.name, places))
    if as_json:
        print(msgspec.json.encode(result).decode())
        return 0
    print(f"Joined {result.coordinator} (pin {result.pin}) at {result.address} as {result.worker}.")
    if result.pending:
        print("Its admin has yet to approve this worker: gogrid-coordinator worker approve " + result.worker_id)
    print(f"Wrote {result.config}.")
    return 0


def _doctor(config: WorkerConfig, places: WorkerPlaces, *, as_json: bool) -> int:
    import msgspec

    from runner.doctor import examine, findings_text

    checks = asyncio.run(examine(config, places))
    print(msgspec.json.encode(checks).decode() if as_json else findings_text(checks))
    return 0 if all(check.ok for check in checks) else REFUSED


def _config(places: WorkerPlaces, words: Sequence[str], flags: Mapping[str, object], *, as_json: bool) -> int:
    """Show the settings and where each comes from, or write one into the file."""
    import json

    from gogrid.config import resolve
    from runner.settings_file import LIVE, change_setting

    if words:
        setting = change_setting(places.config, words[0], words[1])
        load_config(places, flags={}, environment={})
        when = "at once" if setting.key in LIVE else "when the worker starts again"
        print(json.dumps({"key": setting.key, "value": words[1], "file": str(places.config), "counts": when}) if as_json
              else f"Wrote {setting.key} = {words[1]} to {places.config}; it counts {when}.")  # fmt: skip
        return 0
    found = resolve(SETTINGS, flags=flags, environment=os.environ, file=places.config)
    shown = {setting.key: str(_plain(found.values[setting.key])) for setting in SETTINGS}
    if as_json:
        print(json.dumps({key: {"value": value, "from": found.origins[key]} for key, value in shown.items()}))
    else:
        print("\n".join(f"{key} = {value}  ({found.origins[key]})" for key, value in shown.items()))
    return 0


def _plain(value: object) -> object:
    """As it would be written in the file."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else value


def _say(error: GoGridError | str, code: int) -> int:
    print(f"gogrid-worker: {error}", file=sys.stderr)
    return code


def _parser() -> CommandParser:
    parser = CommandParser(prog="gogrid-worker", allow_abbrev=False)
    parser.add_argument("errand", choices=("run", "join", "doctor", "config"), nargs="?", default="run")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--supervised-by", type=int, help=argparse.SUPPRESS)
    for setting in _FLAGGED:
        parser.add_argument(_flag(setting.key), dest=setting.key, help=f"{setting.help} ({setting.env})")
    return parser


def _flag(key: str) -> str:
    return "--" + key.rpartition(".")[2].replace("_", "-")


def _flags(options: argparse.Namespace) -> Mapping[str, object]:
    return {setting.key: getattr(options, setting.key) for setting in _FLAGGED}


if __name__ == "__main__":
    sys.exit(main())
