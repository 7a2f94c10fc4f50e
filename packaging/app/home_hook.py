"""Before anything else in a frozen program: show it the standard library, and let children load their own libraries.

The start program sets `LD_LIBRARY_PATH` for itself; bubblewrap, systemd-run or a browser must not see our libraries.
"""

import os
import sys

sys.path.append(os.path.join(sys._MEIPASS, f"python{sys.version_info.major}.{sys.version_info.minor}"))
_before = os.environ.pop("LD_LIBRARY_PATH_ORIG", "")
os.environ.pop("LD_LIBRARY_PATH", None)
if _before:
    os.environ["LD_LIBRARY_PATH"] = _before
