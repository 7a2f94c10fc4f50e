"""`gogrid-worker` begins here: a join token leaves the command line before anything large is loaded."""

import sys

from tray.hidden_token import conceal


def main() -> int:
    """The exit status."""
    sys.argv[1:] = conceal(sys.argv[1:])
    from tray.cli import main as worker  # some tenths of a second on a slow machine

    return worker()
