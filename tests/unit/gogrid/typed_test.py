"""Printed commands that are copied into a shell: a folder's name is one word there, and nothing in it is obeyed."""

import subprocess

import pytest

from gogrid.typed import typed

NAMES = ["plain", "/srv/my grid", "it's", "a;echo b", "$HOME", "`id`", "tilde ~", "", "-n", "grün", 'say "x"', "a\nb"]


@pytest.mark.skipif("sys.platform == 'win32'", reason="there is no sh")
def test_a_shell_reads_back_what_was_meant() -> None:
    line = typed(["printf", r"%s\0", *NAMES])
    read = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert read.split("\0")[:-1] == NAMES


def test_what_needs_no_quotes_gets_none() -> None:
    assert typed(["gogrid-worker", "--data", "/srv/grid_2.1"], "linux") == "gogrid-worker --data /srv/grid_2.1"
    plain = r"C:\Users\ann\grid-2.1"
    assert typed(["gogrid-worker", "--data", plain], "win32") == f"gogrid-worker --data {plain}"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (r"C:\my grid", r'"C:\my grid"'),
        ("C:\\my grid\\", r'"C:\my grid\\"'),
        (r"C:\a&calc", r'"C:\a&calc"'),
        (r"C:\it's (x86)", r'''"C:\it's (x86)"'''),
        ("", '""'),
    ],
    ids=["space", "last-backslash", "ampersand", "brackets", "empty"],
)
def test_windows_gets_double_quotes(path: str, said: str) -> None:
    assert typed(["x", path], "win32") == f"x {said}"
