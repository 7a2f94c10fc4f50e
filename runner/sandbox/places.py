"""Where a path of the sandbox lies for the process that asks, on a system that cannot show files where it likes.

Linux shows a job its files at `/job/in` and `/job/out`, whatever their places on the host; macOS has no mount
namespaces, so its launcher makes a folder for each job and names it in the environment. Used inside sandboxes only.
"""

import os

VARIABLE = "GOGRID_PLACES"


def place(inside: str) -> str:
    """`/job/in/main.py` as this process finds it."""
    return os.environ.get(VARIABLE, "") + inside
