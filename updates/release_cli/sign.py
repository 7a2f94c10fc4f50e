"""`sign`: from files to a release folder with `release.json`, every file signed for exactly its place in it.

Promises: `release_seq` is above that of the release before, what that one revoked stays revoked and its security floor
is not lowered; an engine pack is signed for the target, Python and oldest system that it says itself; files are copied
and hashed in small pieces; nothing that exists is overwritten; all of a release comes into its folder, or nothing.
"""

import argparse
import base64
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from updates.client.disk import flush_folder
from updates.engine_pack.manifest import packed_manifest
from updates.errors import FolderError, UpdateError
from updates.release_cli.secret_keys import Passphrases, Signer, opened, passphrase_option
from updates.release_cli.shell import (
    DAY_S,
    Json,
    Shell,
    Subparsers,
    days,
    document,
    fits,
    moment,
    shaped,
    show,
    verb,
    whole,
)
from updates.release_folder import ReleaseFolder, signature_beside, write_new
from updates.trust.documents import (
    ENGINE_APP,
    RELEASE_COMMENT,
    WORKER_APP,
    Dotted,
    Name,
    Notes,
    PythonAbi,
    Release,
    Version,
    file_url,
    parse_keys,
    parse_release,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_TARGET = re.compile(r"[a-z0-9]+-[a-z0-9_]+(-[a-z0-9]+)?")
_ENDINGS = {
    ".zip": "zip",
    ".deb": "deb",
    ".AppImage": "AppImage",
    ".exe": "exe",
    ".dmg": "dmg",
    ".tar.gz": "tar.gz",
    ".msi": "msi",
    ".rpm": "rpm",
}
_VERSION = "a version: a digit, then letters, digits, . + - (64 in all), for instance 1.4.0"
_LABEL = "a name: a letter or digit, then small letters, digits, - (63 in all), for instance stable"
_NO_SEQUENCE = (
    "Say which release came before with --previous FOLDER, or this one's number with --seq (the first: --seq 1)."
)


@dataclass(frozen=True, slots=True)
class _File:
    target: str
    path: Path
    name: str
    format: str
    os_min: str
    python_abi: str


def add(commands: Subparsers) -> None:
    parser = verb(commands, "sign", run, "Sign files as one release and put everything into a folder.")
    parser.add_argument("folder", type=Path, help="the release folder; its keys/ are there already")
    parser.add_argument("--key", type=Path, required=True, metavar="SECRET", help="a release key")
    parser.add_argument(
        "--version", type=shaped(Version, _VERSION), required=True, help="shown to people, for instance 1.4.0"
    )
    files = "TARGET=FILE[,os=N][,python=ABI]"
    parser.add_argument(
        "--artifact", action="append", required=True, metavar=files, help="what updates download (.zip)"
    )
    parser.add_argument("--installer", action="append", default=[], metavar=files, help="what people download")
    parser.add_argument("--previous", type=Path, metavar="FOLDER", help="the release before this one")
    parser.add_argument("--seq", type=whole(1, 1 << 52), metavar="N", help="default: one more than the previous")
    parser.add_argument("--app", type=shaped(Name, _LABEL), default=WORKER_APP, help=f"default: {WORKER_APP}")
    parser.add_argument("--channel", type=shaped(Name, _LABEL), default="stable", help="default: stable")
    parser.add_argument("--notes", default="", help="what is new, for people")
    parser.add_argument("--notes-file", type=Path, metavar="FILE", help="the same from a file")
    parser.add_argument(
        "--rollout", type=whole(0, 100), default=100, metavar="PCT", help="until a timestamp says otherwise"
    )
    parser.add_argument("--expires", type=days, default=90 * DAY_S, metavar="DAYS", help="default: 90d")
    parser.add_argument("--security-floor", type=whole(0, 1 << 52), metavar="N", help="older releases may run no more")
    parser.add_argument(
        "--min-from", type=whole(0, 1 << 52), default=0, metavar="N", help="older ones may not take this"
    )
    parser.add_argument(
        "--revoke", action="append", type=whole(1, 1 << 52), default=[], metavar="N", help="a bad release"
    )
    passphrase_option(parser)


def run(args: argparse.Namespace, shell: Shell) -> int:
    folder = ReleaseFolder(args.folder)
    _require_empty(folder)
    keys = [parse_keys(signed.data) for signed in folder.read_keys()]
    if not keys:
        raise FolderError(f"{folder.keys} holds no keys yet; `gogrid-release keys make` makes them.")
    before = _previous(args)
    seq = args.seq or (before.release_seq + 1 if before else 0)
    if seq == 0:
        raise UpdateError(_NO_SEQUENCE)
    if before is not None and seq <= before.release_seq:
        raise UpdateError(
            f"--seq {seq} is not above {before.release_seq}, the previous release; numbers are never reused."
        )
    artifacts = [_file(text, "--artifact") for text in args.artifact]
    if args.app == ENGINE_APP:
        artifacts = list(map(_as_it_says, artifacts))
    installers = [_file(text, "--installer") for text in args.installer]
    _require_distinct(artifacts, installers)
    value = _header(args, shell, seq, keys[-1].key_epoch, before)
    with opened(args.key, Passphrases(args.passphrase_fd)) as signer:
        if signer.public.id not in keys[-1].of(keys[-1].release_keys):
            raise UpdateError(
                f"{args.key} is no release key of epoch {keys[-1].key_epoch}; machines would refuse this."
            )
        with tempfile.TemporaryDirectory(prefix=".signing-", dir=folder.root) as place:
            staged = ReleaseFolder(Path(place))
            value["platforms"] = {file.target: _signed(file, staged, value, signer, url=True) for file in artifacts}
            value["installers"] = [_signed(file, staged, value, signer, url=False) for file in installers]
            data = document(value)
            release = parse_release(data)
            write_new(signature_beside(staged.release), signer.sign(data, RELEASE_COMMENT))
            write_new(staged.release, data)
            _put_in_place(staged, folder)
    words = (
        f"Release {seq} ({release.version}) is signed in {folder.root}; `gogrid-release timestamp` makes it the newest."
    )
    show({"folder": str(folder.root), "release_seq": seq, "version": release.version}, words, shell)
    return 0


def _parts(folder: ReleaseFolder) -> tuple[Path, Path, Path]:
    """What `sign` puts into a folder; the last makes it a release."""
    return folder.files, signature_beside(folder.release), folder.release


def _require_empty(folder: ReleaseFolder) -> None:
    for path in reversed(_parts(folder)):
        if path == folder.files and path.is_dir() and not any(path.iterdir()):
            continue
        if os.path.lexists(path):
            raise FolderError(f"{path} exists already; nothing was written over it.")


def _put_in_place(staged: ReleaseFolder, folder: ReleaseFolder) -> None:
    """All parts, or none."""
    _require_empty(folder)
    if folder.files.is_dir():
        folder.files.rmdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in zip(_parts(staged), _parts(folder), strict=True):
            source.rename(target)
            moved.append((source, target))
    except BaseException:
        for source, target in reversed(moved):
            target.rename(source)
        raise
    flush_folder(folder.root)


def _previous(args: argparse.Namespace) -> Release | None:
    if args.previous is None:
        return None
    path = ReleaseFolder(args.previous).release
    try:
        release = parse_release(path.read_bytes())
    except FileNotFoundError:
        raise FolderError(f"{path} is not there; give the folder of the previous release.") from None
    if (release.app, release.channel) != (args.app, args.channel):
        raise UpdateError(f"{path} is of {release.app} {release.channel}, not of {args.app} {args.channel}.")
    return release


def _header(
    args: argparse.Namespace, shell: Shell, seq: int, key_epoch: int, before: Release | None
) -> dict[str, Json]:
    floor = before.security_floor if before else 0
    if args.security_floor is not None:
        if args.security_floor < floor:
            raise UpdateError(
                f"--security-floor {args.security_floor} is below {floor}, which the previous release says."
            )
        floor = args.security_floor
    notes = args.notes_file.read_text(encoding="utf-8") if args.notes_file else args.notes
    if not fits(notes, Notes):
        raise UpdateError(f"The notes have {len(notes)} characters; at most {16 << 10} are allowed.")
    return {
        "schema": 1,
        "app": args.app,
        "channel": args.channel,
        "release_seq": seq,
        "key_epoch": key_epoch,
        "version": args.version,
        "notes": notes,
        "pub_date": moment(shell.now),
        "issued_at": moment(shell.now),
        "expires": moment(shell.now + args.expires),
        "security_floor": floor,
        "min_from_seq": args.min_from,
        "revoked": sorted({*(before.revoked if before else ()), *args.revoke}),
        "rollout": {"percent": args.rollout, "salt": secrets.token_hex(8)},
    }


def _file(text: str, flag: str) -> _File:
    head, *extras = text.split(",")
    target, equals, name = head.partition("=")
    path = Path(name)
    known = dict(extra.partition("=")[::2] for extra in extras)
    if not equals or not _TARGET.fullmatch(target) or not known.keys() <= {"os", "python"}:
        raise UpdateError(
            f"{flag} {text!r} is not TARGET=FILE[,os=N][,python=ABI], for instance linux-x86_64=gogrid.zip."
        )
    if not fits(known.get("os", ""), Dotted):
        raise UpdateError(f"{flag} {text!r}: os= is the oldest system as at most four numbers, for instance os=2.31.")
    if not fits(known.get("python", ""), PythonAbi):
        raise UpdateError(
            f"{flag} {text!r}: python= is at most 16 small letters and digits, for instance python=cp311."
        )
    if not path.is_file():
        raise FolderError(f"There is no file {path}.")
    if not _NAME.fullmatch(path.name):
        raise FolderError(f"{path.name!r} is no name to publish: letters, digits, . _ + - only, at most 128.")
    kind = next((each for ending, each in _ENDINGS.items() if path.name.endswith(ending)), None)
    if kind is None:
        raise FolderError(f"{path.name} ends with none of {', '.join(_ENDINGS)}.")
    return _File(target, path, path.name, kind, known.get("os", ""), known.get("python", ""))


def _as_it_says(file: _File) -> _File:
    """An engine pack knows what it is for."""
    pack = packed_manifest(file.path)
    for given, said, what in ((file.target, pack.target, "the target"), (file.python_abi, pack.python, "python=")):
        if given not in ("", said):
            raise UpdateError(f"{file.name} is an engine pack for {said}; {what} {given} is not what it is for.")
    return replace(file, os_min=file.os_min or pack.os_min, python_abi=pack.python)


def _require_distinct(artifacts: list[_File], installers: list[_File]) -> None:
    targets = [file.target for file in artifacts]
    names = [file.name for file in (*artifacts, *installers)]
    for values, what in ((targets, "the target"), (names, "the file name")):
        for value in values:
            if values.count(value) > 1:
                raise UpdateError(f"{what.capitalize()} {value} is given twice; each may be there once.")


def _signed(
    file: _File, folder: ReleaseFolder, header: dict[str, Json], signer: Signer, *, url: bool
) -> dict[str, Json]:
    """Copy a file into the folder, sign it for its place, and say what `release.json` says of it."""
    target = folder.files / file.name
    folder.files.mkdir(parents=True, exist_ok=True)
    try:
        with file.path.open("rb") as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
    except FileExistsError:
        raise FolderError(f"{target} exists already; nothing was written over it.") from None
    flush_folder(folder.files)
    with target.open("rb") as copy:
        sha256, size = hashlib.file_digest(copy, "sha256").hexdigest(), copy.tell()
        place = f"seq={header['release_seq']} version={header['version']} target={file.target}"
        copy.seek(0)
        signature = signer.sign(copy, f"gogrid1 {place} sha256={sha256} size={size}")
    write_new(signature_beside(target), signature)
    about: dict[str, Json] = {"url": file_url(sha256, file.name)} if url else {"target": file.target, "name": file.name}
    about |= {
        "signature": base64.b64encode(signature).decode(),
        "sha256": sha256,
        "size": size,
        "format": file.format,
        "os_min": file.os_min,
    }
    return about | {"python_abi": file.python_abi} if url else about
