"""`models list` and `models prune`: what lies in the model cache, and removing what nobody has used for long.

A running worker is asked, since it knows what is in use; without one the cache is tidied under the worker's lock.
"""

import argparse
import time

import msgspec

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.sizes import format_size, parse_duration
from runner.control_messages import Ask, AskModels, AskPrune, CachedModels, CachedModelShown
from tray.commands.base import Command, Context, fetch, maybe_running, say, unexpected

_LIST, _PRUNE = "The models on disk, the longest unused first.", "Remove models that nobody has used for long."


def _words(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=CommandParser)
    listing = verbs.add_parser("list", help=_LIST, description=_LIST, allow_abbrev=False)
    pruning = verbs.add_parser("prune", help=_PRUNE, description=_PRUNE, allow_abbrev=False)
    pruning.add_argument(
        "--unused-since", metavar="TIME", default="30d", help="only what was not used for so long; 30d if not given"
    )
    pruning.add_argument("--yes", action="store_true", help="really remove them; without it they are only shown")
    for own in (listing, pruning):
        own.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")


def _run(options: argparse.Namespace, context: Context) -> int:
    if options.verb == "list":
        models = _ask(context, AskModels(), ("models",)).models
        lines = [*map(_line, models), _sum(models) if models else "no models on disk"]
        return say(options.json, models, "\n".join(lines))
    try:
        unused_s = parse_duration(options.unused_since)
    except ValueError as error:
        raise GoGridError(f"--unused-since {options.unused_since!r} is not usable: it must be {error}.") from None
    if options.yes:
        gone = _ask(context, AskPrune(unused_s=unused_s), ("models", str(unused_s))).models
    else:
        before = time.time() - unused_s
        found = _ask(context, AskModels(), ("models",)).models
        gone = tuple(model for model in found if not model.in_use and model.last_used < before)
    return say(options.json, {"removed": options.yes, "models": gone}, _outcome(gone, removed=options.yes))


def _ask(context: Context, question: Ask, errand: tuple[str, ...]) -> CachedModels:
    answer = maybe_running(context, question)
    if answer is None:
        return msgspec.json.decode(fetch(context, errand), type=CachedModels)
    if not isinstance(answer, CachedModels):
        raise unexpected(answer)
    return answer


def _outcome(models: tuple[CachedModelShown, ...], *, removed: bool) -> str:
    if not models:
        return "no model is unused for so long"
    last = f"removed {_sum(models)}" if removed else f"{_sum(models)} would be removed; to do it, say --yes"
    return "\n".join((*map(_line, models), last))


def _sum(models: tuple[CachedModelShown, ...]) -> str:
    size = format_size(sum(model.disk_bytes for model in models))
    return f"{len(models)} {'model' if len(models) == 1 else 'models'}, {size}"


def _line(model: CachedModelShown) -> str:
    used = time.strftime("%Y-%m-%d", time.localtime(model.last_used))
    words = "in use" if model.in_use else f"last used {used}"
    return f"{model.digest[:12]}  {format_size(model.disk_bytes):>8}  {words:20}  {model.name}".rstrip()


MODELS = Command("models", "The models on this machine's disk: list, prune.", _words, _run)
