"""`python -m runner`: run the worker, or one of the errands that need the runner's own code.

Started by `gogrid-worker`, whose name its messages bear. Logs lines to standard error; secrets are in none of them.
Exit codes are those of `gogrid.worker_exit`.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.extras import not_installed
from gogrid.place_options import add_place_options, named_places
from gogrid.places import WorkerPlaces
from gogrid.terminal import one_line
from gogrid.worker_exit import WorkerExit
from runner.config import SETTINGS, WorkerConfig
from runner.errors import LinkError, NotJoinedError
from runner.watch import end_with

if TYPE_CHECKING:
    from runner.settings_source import SettingsSource

_FLAGGED = tuple(setting for setting in SETTINGS if not setting.key.startswith("updates."))
_ERRANDS = ("run", "join", "doctor", "config", "models", "bench", "engine")
_STANDARD_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.words and options.errand not in ("config", "models", "engine"):
        parser.error(f"unexpected words: {' '.join(options.words)}")
    if options.supervised_by is not None:
        end_with(options.supervised_by)
    try:
        places = named_places(options)
        from runner.settings_source import SettingsSource

        settings = SettingsSource(places, _flags(options), os.environ)
        if options.errand == "config":
            return _config(settings, options.words, as_json=options.json)
        if options.errand == "models":
            return _models(places, options.words, as_json=options.json)
        if options.errand == "doctor":
            return _doctor(settings, places)
        config = settings.load()
        if options.errand == "engine":
            return _engine(config, places, options.words)
        if options.errand == "join":
            return _join(config, places, as_json=options.json)
        if options.errand == "bench":
            return _bench(config, places)
        return _run(settings, config.log_level, places)
    except LinkError as error:
        return _say(error, WorkerExit.TURNED_AWAY if options.errand == "run" else WorkerExit.REFUSED)
    except NotJoinedError as error:
        return _say(error, WorkerExit.NOT_JOINED)
    except GoGridError as error:
        return _say(error, WorkerExit.CANNOT_RUN)
    except OSError as error:
        if options.errand == "run":
            raise  # a crash: it is tried again, for a disk may recover
        return _say(f"{error.filename or 'this machine'}: {error.strerror or error}", WorkerExit.CANNOT_RUN)
    except ModuleNotFoundError as error:
        return _say(not_installed(error, "worker"), WorkerExit.CANNOT_RUN)
    except KeyboardInterrupt:
        return WorkerExit.CANNOT_RUN


def _run(settings: "SettingsSource", log_level: str, places: WorkerPlaces) -> int:
    from runner.app import run
    from runner.engine_pack.publisher import publisher_folder
    from runner.log_lines import logging_to

    for chatty in ("httpx", "httpcore", "asyncio", "quic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with logging_to(_STANDARD_ERROR, log_level.upper()):
        return WorkerExit.START_ANEW if asyncio.run(run(settings, places, publisher_folder())) else 0


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


def _doctor(settings: "SettingsSource", places: WorkerPlaces) -> int:
    """What is wrong with the settings is one finding among the others."""
    import msgspec

    from runner.doctor import examine

    config = settings.load_anyway()
    print(msgspec.json.encode(asyncio.run(examine(config, places, settings.trouble))).decode())
    return 0


def _bench(config: WorkerConfig, places: WorkerPlaces) -> int:
    import msgspec

    from runner.bench import measure

    print(msgspec.json.encode(asyncio.run(measure(config, places))).decode())
    return 0


def _config(settings: "SettingsSource", words: Sequence[str], *, as_json: bool) -> int:
    """Without words show the settings; `KEY VALUE` writes one, with an empty value removes it."""
    import msgspec

    if not words:
        print(msgspec.json.encode(settings.shown()).decode())
        return 0
    done = settings.change(words[0], words[1], running=False)
    print(msgspec.json.encode(done).decode() if as_json else done.note)
    return 0


def _models(places: WorkerPlaces, words: Sequence[str], *, as_json: bool) -> int:
    """Without words list the models on disk; with a number of seconds remove those not used for so long."""
    import msgspec

    from runner.models.offline import list_models, prune_models

    found = prune_models(places, float(words[0]), time.time()) if words else list_models(places)
    print(msgspec.json.encode(found).decode())
    return 0


def _engine(config: WorkerConfig, places: WorkerPlaces, words: Sequence[str]) -> int:
    import msgspec

    from runner.engine_pack.errand import engine_errand
    from runner.engine_pack.publisher import publisher_folder

    try:
        shown = engine_errand(places, config.device, words, publisher_folder())
        print(msgspec.json.encode(shown).decode())
    except OSError as error:
        return _say(f"{error.filename or places.engines}: {error.strerror or error}", WorkerExit.CANNOT_RUN)
    return 0


def _say(error: GoGridError | str, code: int) -> int:
    print(f"gogrid-worker: {one_line(str(error))}", file=sys.stderr)
    return code


def _parser() -> CommandParser:
    parser = CommandParser(prog="gogrid-worker", allow_abbrev=False)
    parser.add_argument("errand", choices=_ERRANDS, nargs="?", default="run")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    add_place_options(parser)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--supervised-by", type=int, help=argparse.SUPPRESS)
    for setting in _FLAGGED:
        parser.add_argument(
            _flag(setting.key), dest=setting.key, help=f"{setting.help} ({setting.env})".replace("%", "%%")
        )
    return parser


def _flag(key: str) -> str:
    return "--" + key.rpartition(".")[2].replace("_", "-")


def _flags(options: argparse.Namespace) -> Mapping[str, object]:
    return {setting.key: getattr(options, setting.key) for setting in _FLAGGED}


if __name__ == "__main__":
    sys.exit(main())
