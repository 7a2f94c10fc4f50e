"""The README's first command, with its real models: everything it says must have been true."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.torch]

GOGRID = str(Path(sysconfig.get_path("scripts")) / "gogrid")


@pytest.mark.timeout(300)
def test_the_demo_answers_ranks_proves_its_sandbox_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([GOGRID, "demo"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for sentence in ("Paris", "network: refused", "tokens per second", "OPENAI_BASE_URL="):
        assert sentence in done.stdout
    assert list(tmp_path.iterdir()) == []
