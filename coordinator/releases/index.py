"""What is published here, as one file (`releases/index.json`): documents with their signatures, and what is offered.

A line is one app in one channel. Changes are pure functions from an index to the next; `store` keeps it.

Rules: a release's number never goes down, and the same number is the same document; a timestamp with a smaller number
than one that was offered is never offered again (machines would refuse it); what was withdrawn is never offered again.
"""

import msgspec

from coordinator.errors import ConflictError, NotFoundError
from updates.errors import TrustError
from updates.trust.answer import KeysAnswer
from updates.trust.publication import Checked, Step
from updates.trust.signatures import parse_signature

KEPT_RELEASES = 3
"""Of each line, with their files."""
_SCHEMA = 1


class OfferedStep(msgspec.Struct, frozen=True, kw_only=True):
    percent: int
    ts_seq: int
    expires: float
    """Seconds since 1970."""
    document: str
    signature: str


class PublishedRelease(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    version: str
    published_at: float
    sha256: str
    document: str
    signature: str
    files: tuple[str, ...]
    """SHA-256 of each."""
    steps: tuple[OfferedStep, ...]
    withdrawn: bool = False

    def step(self, percent: int) -> OfferedStep | None:
        return next((step for step in self.steps if step.percent == percent), None)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    channel: str
    keys: tuple[KeysAnswer, ...]
    """From `first_epoch` on."""
    first_epoch: int
    releases: tuple[PublishedRelease, ...]
    """The newest last."""
    percent: int
    paused: bool = False
    highest_ts: int = 0
    """Of the timestamps that were offered."""

    @property
    def newest(self) -> PublishedRelease:
        return self.releases[-1]

    @property
    def offered(self) -> tuple[PublishedRelease, OfferedStep] | None:
        """None: nothing is offered now."""
        step = self.newest.step(self.percent)
        if self.paused or self.newest.withdrawn or step is None:
            return None
        return self.newest, step


class Index(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = _SCHEMA
    lines: tuple[Line, ...] = ()

    def line(self, app: str, channel: str) -> Line:
        """Raises `NotFoundError`."""
        for line in self.lines:
            if (line.app, line.channel) == (app, channel):
                return line
        raise NotFoundError(
            f"Nothing of {app} {channel} was published here; `gogrid-coordinator release publish` does."
        )

    def files(self) -> frozenset[str]:
        """Every file that is named."""
        return frozenset(sha256 for line in self.lines for release in line.releases for sha256 in release.files)


def published(index: Index, checked: Checked, percent: int | None, now: float) -> Index:
    """Take a release that was checked, or newer timestamps of the one there is.

    Args:
        percent: how far to roll it out; None: as before if it is the same release, else the smallest that was signed.

    Raises:
        ConflictError: it is older than what is here, was withdrawn, or was not signed for that percent.
    """
    release = checked.release
    fresh = _release(checked, now)
    line = next((each for each in index.lines if (each.app, each.channel) == (release.app, release.channel)), None)
    keys = tuple(
        KeysAnswer(keys=signed.data.decode(), signatures=tuple(filter(None, map(_well_formed, signed.signatures))))
        for signed in checked.publication.keys
    )
    first_epoch = checked.keys.key_epoch - len(keys) + 1
    chosen = percent if percent is not None else fresh.steps[0].percent
    if line is None:
        line = Line(
            app=release.app,
            channel=release.channel,
            keys=keys,
            first_epoch=first_epoch,
            releases=(fresh,),
            percent=chosen,
        )
    else:
        _refuse_older(line, fresh, keys, first_epoch)
        same = line.newest.seq == fresh.seq
        if percent is None and same:
            chosen = line.percent
        kept = line.releases[:-1] if same else line.releases[1 - KEPT_RELEASES :]
        line = msgspec.structs.replace(
            line,
            keys=keys,
            first_epoch=first_epoch,
            releases=(*kept, fresh),
            percent=chosen,
            paused=line.paused and same,
        )
    return _with(index, _offering(line, chosen, line.paused))


def rolled_out(index: Index, app: str, channel: str, percent: int) -> Index:
    """Offer the newest release under the timestamp for `percent`; ends a pause. Raises `ConflictError`."""
    line = index.line(app, channel)
    if line.newest.withdrawn:
        raise ConflictError(f"Release {line.newest.seq} was withdrawn; publish a newer one.")
    return _with(index, _offering(line, percent, paused=False))


def paused(index: Index, app: str, channel: str) -> Index:
    """Offer nothing until `rolled_out` or a newer release."""
    return _with(index, msgspec.structs.replace(index.line(app, channel), paused=True))


def withdrawn(index: Index, app: str, channel: str, seq: int) -> Index:
    """Never offer a release again. Raises `NotFoundError`."""
    line = index.line(app, channel)
    if all(release.seq != seq for release in line.releases):
        raise NotFoundError(f"There is no release {seq} here; `gogrid-coordinator release list` shows them.")
    releases = tuple(
        msgspec.structs.replace(release, withdrawn=True) if release.seq == seq else release for release in line.releases
    )
    return _with(index, msgspec.structs.replace(line, releases=releases))


def _well_formed(raw: bytes) -> str:
    """A signature file as text; empty if it is none, which then counted for nothing."""
    try:
        return parse_signature(raw).raw.decode("ascii")
    except TrustError:
        return ""


def _release(checked: Checked, now: float) -> PublishedRelease:
    release, signed = checked.release, checked.publication.release
    return PublishedRelease(
        seq=release.release_seq,
        version=release.version,
        published_at=now,
        sha256=checked.release_sha256,
        document=signed.data.decode(),
        signature=signed.signature.decode(),
        files=tuple(dict.fromkeys(file.sha256 for _, file in release.files())),
        steps=tuple(map(_step, checked.steps)),
    )


def _step(step: Step) -> OfferedStep:
    return OfferedStep(
        percent=step.percent,
        ts_seq=step.timestamp.ts_seq,
        expires=step.timestamp.expires.timestamp(),
        document=step.signed.data.decode(),
        signature=step.signed.signature.decode(),
    )


def _refuse_older(line: Line, fresh: PublishedRelease, keys: tuple[KeysAnswer, ...], first_epoch: int) -> None:
    newest = line.newest
    if fresh.seq < newest.seq:
        raise ConflictError(f"Release {fresh.seq} is older than {newest.seq}, which is here; machines would refuse it.")
    if fresh.seq == newest.seq and fresh.sha256 != newest.sha256:
        raise ConflictError(
            f"Another release {fresh.seq} is here already; a number is never reused: sign with the next."
        )
    if fresh.seq == newest.seq and newest.withdrawn:
        raise ConflictError(f"Release {fresh.seq} was withdrawn; publish a newer one.")
    known = dict(enumerate((each.keys for each in line.keys), line.first_epoch))
    given = dict(enumerate((each.keys for each in keys), first_epoch))
    if max(given) < max(known):
        raise ConflictError(f"Keys of epoch {max(known)} are here already, these end with {max(given)}.")
    if any(given[epoch] != known[epoch] for epoch in given.keys() & known.keys()):
        raise ConflictError("Other keys under the same epoch are here already; machines would refuse these.")


def _offering(line: Line, percent: int, paused: bool) -> Line:
    step = line.newest.step(percent)
    if step is None:
        signed = ", ".join(f"{each.percent}" for each in line.newest.steps)
        raise ConflictError(
            f"Release {line.newest.seq} is signed for {signed} %, not for {percent} %; make a timestamp for it with "
            "`gogrid-release timestamp --rollout` and publish the folder again."
        )
    if step.ts_seq < line.highest_ts:
        raise ConflictError(
            f"The timestamp for {percent} % is older than one that was offered, and machines never go back; make a new "
            "one with `gogrid-release timestamp --rollout` and publish the folder again."
        )
    highest = line.highest_ts if paused else step.ts_seq
    return msgspec.structs.replace(line, percent=percent, paused=paused, highest_ts=highest)


def _with(index: Index, line: Line) -> Index:
    others = [each for each in index.lines if (each.app, each.channel) != (line.app, line.channel)]
    lines = sorted((*others, line), key=lambda each: (each.app, each.channel))
    return msgspec.structs.replace(index, lines=tuple(lines))
