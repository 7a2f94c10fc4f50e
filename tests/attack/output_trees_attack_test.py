"""Threat 12: a corpus of evil output trees, each through the job API on a real worker and the client's download."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gogrid.client.answers import Limits
from runner.python_job.names import check_name
from tests.attack.hostile_grid import HostileGrid

pytestmark = pytest.mark.sandbox


@dataclass(frozen=True)
class Tree:
    code: str
    kept: Mapping[str, object] = field(default_factory=dict)
    """Beside `good`, which every tree has; `ANY`: whatever is in it, `MAYBE`: also not there."""
    word: str = "ok"


ANY, MAYBE = object(), object()
GOOD: Mapping[str, object] = {"good": b"good"}
TREES = {
    "link to a host file": Tree("os.symlink('/etc/passwd', 'link')"),
    "link to the runner's code": Tree("os.symlink('/opt/gogrid/src/runner/__init__.py', 'link')"),
    "link to the supervisor": Tree("os.symlink('/proc/1/environ', 'link'); os.symlink('/proc/1/fd/0', 'fd')"),
    "link to a folder": Tree("os.symlink('/usr/lib', 'folder'); os.symlink('.', 'here'); os.symlink('..', 'up')"),
    "link to itself": Tree("os.symlink('loop', 'loop'); os.symlink('b', 'a'); os.symlink('a', 'b')"),
    "link out of an input's folder": Tree("os.symlink('/job/in/../../etc/passwd', 'link')"),
    "a thousand links": Tree("[os.symlink('/usr', f'link-{n}') for n in range(900)]"),
    "pipe": Tree("os.mkfifo('pipe'); os.mkdir('d'); os.mkfifo('d/pipe')"),
    "socket": Tree("socket.socket(socket.AF_UNIX).bind('socket')"),
    "device": Tree("try: os.mknod('zero', 0o020666, os.makedev(1, 5)); print('made')\nexcept OSError: pass"),
    "hard links": Tree("os.link('good', 'twin'); os.link('good', 'third')", {"twin": b"good", "third": b"good"}),
    "set-user-id program": Tree(
        "open('tool', 'wb').write(b'#!/bin/sh'); os.chmod('tool', 0o6777)", {"tool": b"#!/bin/sh"}
    ),
    "file that grows while it ends": Tree(
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    with open('grows', 'wb', buffering=0) as file:\n"
        "        while True: file.write(b'x')\n"
        "time.sleep(0.1)",
        {"grows": ANY},
    ),
    "file that becomes a link while it ends": Tree(
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        open('other', 'w').close(); os.replace('other', 'turns')\n"
        "        os.symlink('/usr/bin/env', 'other'); os.replace('other', 'turns')\n"
        "time.sleep(0.1)",
        {"turns": MAYBE, "other": MAYBE},
    ),
    "folder nested without end": Tree("for _ in range(900): os.mkdir('d'); os.chdir('d')\nopen('x', 'w')"),
    "file below the deepest folder": Tree(
        "os.makedirs('/'.join('d' * 16)); open('/'.join('d' * 16) + '/x', 'w')\n"
        "open('/'.join('d' * 15) + '/y', 'w').write('y')",
        {"/".join("d" * 15) + "/y": b"y"},
    ),
    "more folders than files are allowed": Tree("for n in range(3000): os.mkdir(str(n))", word="output_too_large"),
    "more files than allowed": Tree("for n in range(51): open(str(n), 'w')", word="output_too_large"),
    "sparse files": Tree(
        "for n in range(3): os.truncate(os.open(str(n), os.O_CREAT | os.O_RDWR), 900_000)", word="output_too_large"
    ),
    "one file as large as all memory": Tree(
        "try: os.truncate(os.open('huge', os.O_CREAT | os.O_RDWR), 1 << 40)\nexcept OSError: os.unlink('huge')"
    ),
    "folder that cannot be opened": Tree("os.mkdir('shut'); os.chmod('shut', 0)"),
    "working folder that cannot be opened": Tree("os.chmod('.', 0)", {"good": MAYBE}),
    "the working folder removed": Tree(
        "os.unlink('good')\ntry: os.rmdir('/job/out')\nexcept OSError: open('good', 'w').write('good')"
    ),
    "names that command a terminal": Tree(r"open('\x1b]0;owned\x07', 'w')", {"_]0;owned_": b""}),
    "names that climb on Windows": Tree(r"open('..\\..\\evil', 'w')", {".._.._evil": b""}),
    "names that are devices on Windows": Tree("open('CON', 'w'); open('nul.txt', 'w')", {"_ON": b"", "_ul.txt": b""}),
    "names that are one on macOS and Windows": Tree(
        r"[open(name, 'w').write(name) for name in ('A', 'a', '\u00e9', 'e\u0301')]",
        {"A": b"A", "a-2": b"a", "e\u0301": "e\u0301".encode(), "\u00e9-2": "\u00e9".encode()},
    ),
    "names that are no text": Tree(
        r"open(b'\xff\xfe\x80', 'w'); open(b'\xed\xa0\x80', 'w')", {"___": b"", "___-2": b""}
    ),
    "names as long as can be": Tree("open('n' * 255, 'w'); os.makedirs('d' * 255 + '/' + 'e' * 255)", {"n" * 200: b""}),
    "hidden files": Tree(
        "open('.bashrc', 'w').write('evil'); os.mkdir('.ssh'); open('.ssh/rc', 'w')",
        {".bashrc": b"evil", ".ssh/rc": b""},
    ),
}
_START = "import os, socket, sys, time\nopen('good', 'w').write('good')\n"


def test_the_corpus_has_at_least_20_trees() -> None:
    assert len(TREES) >= 20


@pytest.mark.parametrize("name", TREES)
def test_output_tree(grid: HostileGrid, tmp_path: Path, name: str) -> None:
    tree = TREES[name]
    told = grid.run(_START + tree.code, limits=Limits(wall_s=20.0, output_files=50, output_bytes=1 << 20))
    assert (told.word, told.stdout) == (tree.word, "")
    kept = {**GOOD, **tree.kept} if told.word == "ok" else {}
    for name, content in kept.items():
        if content is not MAYBE:
            assert name in told.files
            assert content is ANY or told.files[name] == content
    assert told.files.keys() <= kept.keys()
    assert {name: check_name(name) for name in told.files if check_name(name)} == {}
    assert told.job.result is not None
    assert told.job.result.detail.isprintable()
    with grid.local.client() as client:
        client.download(told.job, tmp_path / "here")
    for path in (tmp_path / "here").rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not mode & 0o7111), path
    assert {path.name for path in tmp_path.iterdir()} <= {"here"}
