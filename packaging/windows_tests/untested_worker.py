"""`gogrid-worker` for tests under Wine, run by Windows Python: its runner uses the Windows sandbox as it is.

Wine enforces too little for the sandbox's self-test, so the worker itself, rightly, takes no jobs there.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
sys.path.insert(0, ROOT)


def runner(arguments: Sequence[str]) -> int:
    from runner import app
    from runner.__main__ import main
    from runner.sandbox.base import Launcher
    from tests.windows.surroundings import untested_launcher

    async def choose(**_: object) -> Launcher:
        return untested_launcher()

    app.choose_launcher = choose  # type: ignore[assignment]
    return main(arguments)


def worker(arguments: Sequence[str]) -> int:
    from tray import runner_command

    runner_command.runner_command = lambda given: (sys.executable, __file__, "runner", *given)
    from tray.cli import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(runner(sys.argv[2:]) if sys.argv[1:2] == ["runner"] else worker(sys.argv[1:]))
