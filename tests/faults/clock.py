"""A wall clock of child processes that a test can turn; their monotonic clocks go on as they are.

`time.time` and `time.time_ns` of Python are replaced in the child, which is all that reads the wall clock in GoGrid but
for certificates' dates.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_PATCH = """
import os, time
_real, _real_ns, _file = time.time, time.time_ns, os.environ["TEST_CLOCK_FILE"]
_seen = [0.0, 0.0]
def _offset():
    now = time.monotonic()
    if now - _seen[0] > 0.02:
        try:
            with open(_file) as file:
                _seen[:] = now, float(file.read() or 0)
        except (OSError, ValueError):
            pass
    return _seen[1]
time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + int(_offset() * 1e9)
"""


class Clock:
    """One clock; processes started with `environment` read it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "offset"
        self._folder = folder
        (folder / "sitecustomize.py").write_text(_PATCH)
        self.jump_to(0)

    @property
    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join(filter(None, (str(self._folder), os.environ.get("PYTHONPATH", ""))))
        return {"PYTHONPATH": path, "TEST_CLOCK_FILE": str(self._file)}

    def jump_to(self, offset_s: int) -> None:
        """From now on the children's clock is so far from ours."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}")
        fresh.replace(self._file)
