"""Threat 5: what a script writes reaches a terminal only as text, and it types into none. On real pseudo-terminals."""

import array
import fcntl
import json
import os
import re
import secrets
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest

from runner.sandbox.base import Launcher
from tests.attack.hostile_grid import HostileGrid
from tests.fakes.terminal import Terminal

pytestmark = pytest.mark.sandbox

EVIL = {
    "colour (CSI)": b"\x1b[31mred",
    "clear the screen": b"\x1b[2J\x1b[H",
    "title (OSC)": b"\x1b]0;owned\x07",
    "clipboard (OSC 52)": b"\x1b]52;c;ZXZpbA==\x1b\\",
    "link (OSC 8)": b"\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "answer back (DSR)": b"\x1b[6n\x1b[c\x05",
    "device control (DCS)": b'\x1bP$q"p\x1b\\',
    "reset (RIS)": b"\x1bc",
    "other alphabet": b"\x0e\x1b(0\x0f",
    "bell and backspace": b"\x07safe\x08\x08\x08\x08evil\x7f",
    "C1 in UTF-8": "\u009b31m\u009d0;owned\u009c\u0090".encode(),
    "C1 as bytes": b"\x9b31m\x9d0;owned\x9c\x85",
    "bidirectional overrides": "\u202a\u202b\u202c\u202d\u202eexe.txt\u2066\u2067\u2068\u2069".encode(),
    "forged lines": "vertical\x0bform\x0cnext\u0085line\u2028paragraph\u2029end".encode(),
    "file separators": b"\x1c\x1d\x1e\x1f",
    "nothing": b"a\x00b",
    "half a character": b"\xe2\x80",
    "overlong escape": b"\xc0\x9b\xe0\x80\x9b",
}
_RAW = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xc0\x9b|\xe0\x80\x9b"
)
"""What no terminal may be given; \\t, \\n and \\r may be."""
_SHOUTS = """
    import json, os, sys, time
    for number, (name, text) in enumerate(json.loads(open("evil.json").read()).items()):
        for stream in (1, 2):
            os.write(stream, bytes.fromhex(text) + b"\\n")
    for half in (b"split \\x1b", b"[31m \\xe2\\x80", b"\\xaeexe.txt \\xc2", b"\\x9b31m\\n"):
        os.write(1, half); time.sleep(0.1)
    open("\\x1b]0;owned\\x07\\u202e.txt", "w").write("named to attack")
    sys.exit("\\x1b[2Jlast words")
"""


@pytest.fixture
def evil_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.json").write_text(json.dumps({name: text.hex() for name, text in EVIL.items()}))
    script = tmp_path / "evil.py"
    script.write_text(textwrap.dedent(_SHOUTS))
    return script


def _login(grid: HostileGrid, folder: Path) -> dict[str, str]:
    return {
        "GOGRID_URL": grid.local.endpoint.plain_url,
        "GOGRID_API_KEY": grid.local.admin_key,
        "GOGRID_CLIENT_CONFIG": str(folder / "client.toml"),
    }


def test_no_terminal_command_of_a_script_reaches_the_terminal(
    grid: HostileGrid, evil_script: Path, tmp_path: Path
) -> None:
    """`gogrid run`, then what shows the same job again: `logs` and `jobs`."""
    environment = _login(grid, tmp_path)
    with Terminal(["run", str(evil_script), "--input", "evil.json"], environment) as terminal:
        terminal.expect("last words")
        assert terminal.wait() == 1
        shown = terminal.shown
    assert [name for name, text in EVIL.items() if _RAW.search(text) and text in shown] == []
    assert _RAW.findall(shown) == []
    assert rb"\x1b[31mred" in shown, "it is shown as text instead"
    with grid.local.client() as client:
        job = client.jobs(limit=1)[0].id
    for again in (["logs", job], ["jobs"], ["jobs", job]):
        with Terminal(again, environment) as terminal:
            terminal.wait()
            assert _RAW.findall(terminal.shown) == [], again


def test_a_job_s_label_cannot_command_the_terminal(grid: HostileGrid, tmp_path: Path) -> None:
    with grid.local.client() as client:
        job = client.submit_python({"main.py": b"pass"}, "main.py", label="\x1b]0;owned\x07\u202e\u009b31m")
    grid.see(job.id)
    with Terminal(["jobs"], _login(grid, tmp_path)) as terminal:
        assert terminal.wait() == 0
        assert job.id[:8].encode() in terminal.shown
        assert _RAW.findall(terminal.shown) == []


def test_a_script_types_nothing_into_its_owners_terminal(launcher: Launcher, tmp_path: Path) -> None:
    """The worker has a terminal of its own, as one that was started by hand; the kernel's TIOCSTI may be on."""
    script = tmp_path / "main.py"
    script.write_text(
        "import fcntl, os, sys\n"
        "typed = []\n"
        "for path in ('/dev/tty', '/dev/console', '/proc/1/fd/0', '/proc/self/fd/0', '/proc/self/fd/2'):\n"
        "    try: terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)\n"
        "    except OSError: continue\n"
        "    for request in (0x5412, 0x541C):\n"
        "        try: fcntl.ioctl(terminal, request, b'x'); typed.append(path)\n"
        "        except OSError: pass\n"
        "for descriptor in (0, 1, 2):\n"
        "    try: fcntl.ioctl(descriptor, 0x5412, b'x'); typed.append(descriptor)\n"
        "    except OSError: pass\n"
        "os.write(1, f'typed into {typed}\\n'.encode())\n"
    )
    ours, theirs = os.openpty()
    runner = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("doomed_runner.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
    )
    try:
        said, _ = runner.communicate(f"{secrets.token_hex(8)}\n{script}\n".encode(), timeout=30)
        assert said == b"typed into []\n"
        waiting = array.array("i", [0])
        fcntl.ioctl(theirs, termios.FIONREAD, waiting)
        assert waiting[0] == 0, "something lies in the terminal's input"
    finally:
        runner.kill()
        os.close(ours)
        os.close(theirs)
