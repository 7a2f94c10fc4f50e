"""Choose the sandbox of this machine, by trying it.

If none works, the worker takes no jobs: `SandboxUnavailableError` says what each one answered.
"""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher
from runner.sandbox.interpreter import Interpreter


async def choose_launcher(
    programs: Sequence[Path] | None = None, python: Interpreter | None = None, gpus: tuple[str, ...] = ()
) -> Launcher:
    """The first working sandbox, self-tested.

    Args:
        programs: bubblewrap programs to try in this order; None: the system's, then the packaged one.
        python: what runs inside; None: the running interpreter and its packages.
        gpus: UUIDs of the GPUs that jobs are to get; `report.gpus` says whether they work inside.

    Raises:
        SandboxUnavailableError: none works.
    """
    if sys.platform == "darwin":
        from runner.sandbox.macos.self_test import choose_macos_launcher

        return await choose_macos_launcher(python, gpus)
    if sys.platform == "win32":
        from runner.sandbox.windows.self_test import choose_windows

        return await choose_windows(python, gpus)
    if sys.platform == "linux":
        from runner.sandbox.linux.choice import choose_bwrap

        return await choose_bwrap(programs, python, gpus)
    raise SandboxUnavailableError(f"GoGrid has no sandbox for {platform.system()} yet; this machine takes no jobs.")
