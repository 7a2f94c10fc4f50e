"""Text from elsewhere, made harmless for a terminal.

A model's answer, a script's output, a host name or an error message may carry escape sequences that retitle windows,
answer back as keystrokes or hide text. Promises: what these functions return holds no control character but those
named in `keep`, no bidirectional override, and nothing that was plain text is changed.
"""

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, keep: str = "\n\t") -> str:
    """Control characters as `\\x1b` or `\\u202e`, to be read instead of obeyed."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def one_line(text: str) -> str:
    """For table cells and messages: nothing kept, not even line breaks."""
    return visible(text, keep="")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
