"""When what is packaged was committed: the one time that packages carry."""

import subprocess
from pathlib import Path

NO_TIME = "315532800"
"""1980, where archives' times begin: there is no commit."""


def commit_time() -> str:
    """In seconds since 1970, as `SOURCE_DATE_EPOCH` has it."""
    command = ["git", "-C", str(Path(__file__).parent), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or NO_TIME
