"""`config`: the settings, where each comes from, and a change of one; through the running worker if there is one.

The running worker knows the flags and variables it was started with, so its word on which place won is the true one;
where its file is another one than named here, it is not asked. Control characters in a value are shown, not obeyed;
`--json` gives it exactly.
"""

import argparse
import sys

import msgspec

from gogrid.arguments import CommandParser
from gogrid.config import no_such_setting
from gogrid.errors import GoGridError
from gogrid.terminal import one_line
from runner.control_messages import AskChange, AskSettings, Done, Refused, Settings, SettingShown
from tray.commands.base import Command, Context, fetch, maybe_running, say, unexpected
from tray.control_client import ask

_VERBS = ("get", "set", "unset", "path", "show")


def _words(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=CommandParser)
    for verb, help_text in (
        ("show", "Show every setting."),
        ("get", "Print one setting's value."),
        ("set", "Write one setting into config.toml."),
        ("unset", "Remove one setting from config.toml, so that its default counts."),
        ("path", "Print where config.toml is."),
    ):
        own = verbs.add_parser(verb, help=help_text, description=help_text, allow_abbrev=False)
        if verb in ("get", "set", "unset"):
            own.add_argument("setting", help="worker.max_vram, or max_vram alone")
        if verb == "set":
            own.add_argument("value", help="as it would follow the setting's flag; a list is written [a, b]")
        if verb == "show":
            own.add_argument(
                "--origin", action="store_true", help="say which place each value comes from, and its variable"
            )
        own.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")


def _arrange(words: list[str]) -> list[str]:
    """`config` alone shows, `config KEY` gets, `config KEY VALUE` writes."""
    plain = [word for word in words if not word.startswith("-")]
    if "--help" in words or (plain and plain[0] in _VERBS):
        return words
    return [("show", "get", "set")[min(len(plain), 2)], *words]


def _run(options: argparse.Namespace, context: Context) -> int:
    if options.verb == "path":
        return say(options.json, {"path": str(context.places.config)}, str(context.places.config))
    if options.verb == "set" and not options.value.strip():
        raise GoGridError(f"An empty value is no value; to remove one: gogrid-worker config unset {options.setting}")
    if options.verb in ("set", "unset"):
        return _change(options, context)
    found = _settings(context)
    shown = found.settings
    if found.trouble:
        trouble = one_line(found.trouble)
        print(f"gogrid-worker: {trouble} Until it is mended the running worker has this:", file=sys.stderr)
    if options.verb == "get":
        one = _named(options.setting, shown)
        return say(options.json, one, one_line(one.value))
    if options.json:
        return say(True, {one.key: {"value": one.value, "from": one.origin, "live": one.live} for one in shown}, "")
    return say(False, None, "\n".join(_line(one, origin=options.origin) for one in shown))


def _change(options: argparse.Namespace, context: Context) -> int:
    value = options.value if options.verb == "set" else ""
    if _running_file(context) is not None:
        answer = ask(context.places.control, AskChange(setting=options.setting, value=value))
        if isinstance(answer, Refused):
            raise GoGridError(answer.reason)  # wrong words, whoever says so
    else:
        answer = msgspec.json.decode(fetch(context, ("config", options.setting, value)), type=Done)
    if not isinstance(answer, Done):
        raise unexpected(answer)
    told = {"key": answer.key, "value": value, "counts": answer.counts, "note": answer.note}
    return say(options.json, told, one_line(answer.note))


def _running_file(context: Context) -> Settings | None:
    """The running worker's settings, if it uses the file that is meant."""
    answer = maybe_running(context, AskSettings())
    return answer if isinstance(answer, Settings) and answer.file == str(context.places.config) else None


def _settings(context: Context) -> Settings:
    return _running_file(context) or msgspec.json.decode(fetch(context, ("config",)), type=Settings)


def _named(name: str, shown: tuple[SettingShown, ...]) -> SettingShown:
    word = name.strip().lower().replace("-", "_")
    for one in shown:
        if word in (one.key, one.key.rpartition(".")[2]):
            return one
    raise GoGridError(no_such_setting(name, [one.key for one in shown]))


def _line(one: SettingShown, *, origin: bool) -> str:
    where = f"  ({one.origin}; variable {one.env})" if origin else ""
    return one_line(f"{one.key} = {one.value}{where}")


CONFIG = Command(
    "config",
    "Show the settings, or write one; a running worker takes up most of them at once.",
    _words,
    _run,
    _arrange,
)
