"""The process that starts a job's guard on a Mac: `python -I -S -B guard.py LIFELINE CAPS FOLDER COMMAND…`.

Kept apart from `macos/keeper`, because a program run by its path finds our packages only after this. Needs no others.
"""

import os
import sys


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from runner.sandbox.macos.keeper import keep
    from runner.sandbox.macos.processes import LibProc
    from runner.sandbox.macos.watch import decode_caps

    lifeline, caps, folder, *command = sys.argv[1:]
    try:
        table = LibProc()
    except OSError as error:
        sys.exit(f"The process table cannot be read: {error.strerror}.")
    sys.exit(keep(int(lifeline), decode_caps(caps), folder, command, table))


if __name__ == "__main__":
    main()
