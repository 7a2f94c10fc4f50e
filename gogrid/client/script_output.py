"""A script's output on its way to the user's own standard output and error.

A terminal gets text whose control characters are escaped (but for carriage return, which progress bars need), in lines
of at most `LINE_CHARS`, and what GoGrid itself says there always begins a line of its own; a file or pipe gets the very
bytes. `--json` gets one object a piece. A character that is split over two pieces comes out whole.
"""

import codecs
from typing import TextIO

from gogrid.client.answers import Job, LogPiece
from gogrid.client.shell import Exit, Shell
from gogrid.terminal import visible

LINE_CHARS = 8192
"""Longest line that a terminal is given of a script; the rest of it is left out."""
_CUT = " … (the line goes on)"
_ENDINGS = {
    "timeout": "it ran longer than its time limit (--timeout)",
    "memory": "it needed more memory than its limit (--memory)",
    "cpu_time": "it used more processor time than its limit",
    "output_too_large": "it left more output files than its limit (--max-output, --max-files)",
    "crashed": "it was killed by the system",
    "cancelled": "it was cancelled",
    "owner_returned": "the worker's owner took the machine back",
}


class ScriptOutput:
    def __init__(self, shell: Shell, *, raw: bool = False) -> None:
        self._shell = shell
        self._raw = raw
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._lines = {"stdout": _Lines(), "stderr": _Lines()}

    def write(self, piece: LogPiece) -> None:
        self._write(piece.stream, piece.data, final=False)

    def close(self) -> None:
        """Show what an incomplete character at the very end may have left, and end an unended line of a terminal."""
        for stream in self._decoders:
            self._write(stream, b"", final=True)
        for stream, lines in self._lines.items():
            if lines.unended:
                self._target(stream).write("\n")
                self._target(stream).flush()

    def _target(self, stream: str) -> TextIO:
        return self._shell.stdout if stream == "stdout" else self._shell.stderr

    def _write(self, stream: str, data: bytes, *, final: bool) -> None:
        target = self._target(stream)
        if not self._shell.json and (self._raw or not target.isatty()):
            target.flush()
            target.buffer.write(data)
            target.flush()
            return
        text = self._decoders[stream].decode(data, final)
        if not text:
            return
        if self._shell.json:
            self._shell.value({"stream": stream, "text": text})
        else:
            target.write(visible(self._lines[stream].cut(text), keep="\n\t\r"))
            target.flush()


class _Lines:
    """Where in its line a terminal's text is."""

    def __init__(self) -> None:
        self._length = 0
        self.unended = False

    def cut(self, text: str) -> str:
        """The text without what goes beyond the longest line."""
        parts = []
        for line in text.splitlines(keepends=True):
            content = line.rstrip("\r\n")
            room = LINE_CHARS - self._length
            if len(content) > room >= 0:
                parts.append(content[:room] + _CUT)
            elif room >= 0:
                parts.append(content)
            self._length += len(content)
            if len(content) < len(line):
                parts.append(line[len(content) :])
                self._length = 0
        self.unended = not text.endswith("\n")
        return "".join(parts)


def exit_code(job: Job) -> int:
    """The script's own; what stopped it otherwise must never look like success."""
    if job.result is None:
        return Exit.GOGRID_FAILED
    if job.result.ended == "ok":
        return Exit.DONE
    return job.result.exit_code & 0xFF or Exit.GOGRID_FAILED


def ending(job: Job) -> str | None:
    """A sentence about a job that did not simply end by itself; None for one that did, or goes on."""
    result = job.result
    if job.state == "cancelled":
        return f"The job {job.id} was cancelled."
    if result is None:
        given_up = "was given up" if job.state == "dead" else "failed"
        return f"The job {job.id} {given_up}: {job.error.message}" if job.error is not None else None
    cut = " Its output was longer than the log's limit; the rest is lost." if result.logs_truncated else ""
    if result.by_itself:
        return f"The script ended. {result.detail}{cut}".strip() if result.detail or cut else None
    why = _ENDINGS.get(result.ended, result.ended)
    return f"The script was stopped ({result.word}): {result.detail or why + '.'}{cut}"
