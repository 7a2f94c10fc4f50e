"""`release publish | list | rollout | pause | revoke`: what is offered to machines as updates.

This program signs nothing: it takes what verifies against its root keys, and chooses among what was signed.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, verb
from coordinator.releases.index import Index, Line, PublishedRelease, paused, rolled_out, withdrawn
from coordinator.releases.store import ReleaseStore
from gogrid.errors import ConfigError
from updates.release_folder import ReleaseFolder
from updates.trust.documents import WORKER_APP

_MADE_BY = "name the folder that `gogrid-release` made"


def add(commands: Subparsers) -> None:
    verbs = group(commands, "release", "The updates that are offered to machines.")
    publishing = verb(verbs, "publish", run_publish, "Offer a signed release folder, if machines would believe it.")
    publishing.add_argument("folder", help="what `gogrid-release` made")
    publishing.add_argument(
        "--rollout", metavar="PCT", help="to how many machines; default: the fewest that were signed"
    )
    publishing.add_argument("--root-keys", metavar="FILE", help="the publisher's root-keys.json; needed once")
    verb(verbs, "list", run_list, "Show what is published, and what is offered.")
    rolling = verb(verbs, "rollout", run_rollout, "Offer the newest release to more machines; ends a pause.")
    rolling.add_argument("percent", help="one that a timestamp was signed for")
    pausing = verb(verbs, "pause", run_pause, "Offer nothing, until `rollout` or a newer release.")
    revoking = verb(verbs, "revoke", run_revoke, "Never offer a release again.")
    revoking.add_argument("seq", help="its number, as `release list` shows it")
    for parser in (rolling, pausing, revoking):
        parser.add_argument("--app", default=WORKER_APP, help=f"default: {WORKER_APP}")
        parser.add_argument("--channel", default="stable", help="default: stable")


def run_publish(args: argparse.Namespace, shell: Shell) -> int:
    percent = None if args.rollout is None else _number(args.rollout, "--rollout", 100)
    shell.folder.require()
    folder = Path(args.folder).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}; {_MADE_BY}.")
    root_keys = Path(args.root_keys).expanduser() if args.root_keys else None
    line = ReleaseStore(shell.folder).publish(ReleaseFolder(folder), percent, shell.now, root_keys)
    show(_value(line), _words(line, shell.now), shell.as_json)
    return 0


def run_list(args: argparse.Namespace, shell: Shell) -> int:
    shell.folder.require()
    index = ReleaseStore(shell.folder).read()
    rows = [
        (
            line.app,
            line.channel,
            str(release.seq),
            release.version,
            _offer(line, release, shell.now),
            moment(release.published_at),
        )
        for line in index.lines
        for release in reversed(line.releases)
    ]
    words = table(
        ("APP", "CHANNEL", "SEQ", "VERSION", "OFFERED", "PUBLISHED"),
        rows,
        "Nothing was published yet; `gogrid-coordinator release publish FOLDER` does.",
    )
    show([_value(line) for line in index.lines], words, shell.as_json)
    return 0


def run_rollout(args: argparse.Namespace, shell: Shell) -> int:
    percent = _number(args.percent, "rollout", 100)
    return _changed(args, shell, lambda index: rolled_out(index, args.app, args.channel, percent))


def run_pause(args: argparse.Namespace, shell: Shell) -> int:
    return _changed(args, shell, lambda index: paused(index, args.app, args.channel))


def run_revoke(args: argparse.Namespace, shell: Shell) -> int:
    seq = _number(args.seq, "revoke", 1 << 53)
    hint = (
        f"\nMachines that run release {seq} go on with it until a newer one revokes it: `gogrid-release sign --revoke "
        f"{seq}`, then publish that."
    )
    return _changed(args, shell, lambda index: withdrawn(index, args.app, args.channel, seq), hint)


def _changed(args: argparse.Namespace, shell: Shell, change: Callable[[Index], Index], hint: str = "") -> int:
    shell.folder.require()
    line = ReleaseStore(shell.folder).change(change).line(args.app, args.channel)
    show(_value(line), _words(line, shell.now) + hint, shell.as_json)
    return 0


def _number(text: str, what: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > most:
        raise ConfigError(f"{what} {text!r} is not a whole number up to {most}.")
    return int(text)


def _words(line: Line, now: float) -> str:
    newest = line.newest
    return f"{line.app} {line.channel}: release {newest.seq} ({newest.version}) is {_offer(line, newest, now)}."


def _offer(line: Line, release: PublishedRelease, now: float) -> str:
    if release.withdrawn:
        return "withdrawn"
    if release.seq != line.newest.seq:
        return "superseded"
    if line.offered is None:
        return "paused"
    step = line.offered[1]
    if step.expires <= now:
        return f"offered to {step.percent} %, but its timestamp has expired: machines wait for a new one"
    return f"offered to {step.percent} % until {moment(step.expires)}"


def _value(line: Line) -> dict[str, Json]:
    offered = line.offered
    return {
        "app": line.app,
        "channel": line.channel,
        "offered_seq": offered[0].seq if offered else None,
        "percent": offered[1].percent if offered else None,
        "expires": offered[1].expires if offered else None,
        "paused": line.paused,
        "key_epoch": line.first_epoch + len(line.keys) - 1,
        "releases": [
            {
                "seq": release.seq,
                "version": release.version,
                "published_at": release.published_at,
                "withdrawn": release.withdrawn,
                "percents": [step.percent for step in release.steps],
            }
            for release in line.releases
        ],
    }
