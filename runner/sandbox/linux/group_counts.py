"""What the kernel counted in a control group, from the text of one of its files: a pure function.

A count that is not there, or that is no number, is none: whatever it would have proved stays unproved.
"""

import re


def count(text: str, name: str) -> int:
    """The number in the line `name number` of a file such as `cpu.stat`, the same in both versions; else 0."""
    line = re.search(rf"^{re.escape(name)} ([0-9]{{1,20}})$", text, re.MULTILINE)
    return int(line[1]) if line else 0
