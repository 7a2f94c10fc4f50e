"""A command in the README can be copied: none begins in a comment on one line and ends on the next."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_no_command_in_a_comment_is_split_over_lines() -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 8
    assert [line for line in lines if line.count("`") % 2] == []
