"""docs/configuration.md lists every setting of the worker with its variable, and none that it does not have."""

import re
from pathlib import Path

from runner.config import SETTINGS

ROOT = Path(__file__).parents[2]


def test_every_setting_has_a_row_with_its_variable_and_every_row_a_setting() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    worker = text[text.index("## Worker") : text.index("## Coordinator")]
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| `(GOGRID_[A-Z_]+)` \|", worker, re.MULTILINE)
    assert sorted(rows) == sorted((setting.key, setting.env) for setting in SETTINGS)
