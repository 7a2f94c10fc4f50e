"""A program small enough to be published a hundred times: each version is one script that says which one it is.

It writes a line `SEQ` into the file `$LITTLE_LOG` when it starts, then does what its kind is: `good` proves itself and
works until it is told to end, `brief` proves itself and ends, `crash` ends with an error, `mute` never proves itself,
`again` asks once for what is installed now, `occupied` finds another one at work, `idle` does nothing and says that all
is well, `quit` is ended by somebody before it has proved itself.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

from tests.fakes.update_publisher import APP, CHANNEL, TARGET, anchors
from updates.client.layout import AppFolder, Installation, read_copy

PROGRAM = "gogrid-worker"
ROOT = Path(__file__).parents[2]

_SCRIPT = """#!{python}
import os, sys, time
sys.path.insert(0, {root!r})
kind, place = {kind!r}, os.path.dirname(os.path.abspath(sys.argv[0]))
data = sys.argv[1]
from pathlib import Path
from updates.client.boot import ENDED, OCCUPIED, Here, Launch, Pace, start_anew, started_by
from updates.client.layout import AppFolder, Installation, read_copy
from updates.client.switch import prove
own = Installation(AppFolder(Path(data)), read_copy(Path(place)), Path(place))
here = started_by(os.environ)
if here is None:
    pace = Pace(probation_s=float(os.environ.get("LITTLE_PROBATION", "20")), look_s=0.02, grace_s=5, again_s=0)
    program = Path(place, {program!r})
    say = lambda text: print(text, file=sys.stderr)
    here = Launch(own, program, program, sys.argv[1:], os.environ, say, pace).run()
    if isinstance(here, int):
        sys.exit(here)
with open(os.environ["LITTLE_LOG"], "a") as log:
    print(own.copy.seq, file=log)
ends = dict(crash=1, occupied=OCCUPIED, idle=0, quit=ENDED)
if kind in ends:
    sys.exit(ends[kind])
if kind != "mute":
    prove(own)
if kind == "again" and not Path(data, "was-again").exists():
    Path(data, "was-again").touch()
    sys.exit(start_anew(here, sys.argv[1:], os.environ))
while kind in ("good", "mute"):
    time.sleep(0.02)
"""


def write(place: Path, seq: int, version: str, kind: str) -> None:
    """As an installer would put it there."""
    place.mkdir(parents=True)
    for name, text in _files(seq, version, kind).items():
        (place / name).write_text(text)
    (place / PROGRAM).chmod(0o755)
    (place / "root-keys.json").write_text(
        json.dumps({"schema": 1, "threshold": 2, "first_epoch": 1, "root_keys": anchors().root_keys})
    )


def archive(seq: int, version: str, kind: str, *, ballast: bytes = b"", **fields: object) -> bytes:
    """As a publisher would pack it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in _files(seq, version, kind, **fields).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if name == PROGRAM else 0o100644) << 16
            file.writestr(info, text)
        if ballast:
            file.writestr(zipfile.ZipInfo("_internal/ballast"), ballast, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def installation(place: Path, data: Path) -> Installation:
    return Installation(AppFolder(data), read_copy(place), place)


def _files(seq: int, version: str, kind: str, **fields: object) -> dict[str, str]:
    copy = {"app": APP, "channel": CHANNEL, "target": TARGET, "version": version, "seq": seq} | fields
    script = _SCRIPT.format(python=sys.executable, root=str(ROOT), kind=kind, program=PROGRAM)
    return {PROGRAM: script, "copy.json": json.dumps(copy)}
