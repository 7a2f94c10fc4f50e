"""A running sandbox of bubblewrap: its three pipes on this event loop, its end, and its control group."""

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import IO

from gogrid.sizes import format_size
from runner.sandbox.linux.process_group import ProcessGroup

_REMOVE_TRIES = 100
_REMOVE_FIRST_S, _REMOVE_EVERY_S = 0.001, 0.02
"""The pause after the first try, which doubles up to the second: a job's result waits for it."""
_SIGNALLED = 128
_TURNS_TO_THE_END = 16
"""Of the event loop: data, the end of file, and the calls that follow from both."""


class BwrapProcess:
    """A sandbox started by bubblewrap. Reap it with `wait`, after `kill` too."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        group: ProcessGroup | None,
        memory_bytes: int | None,
        pipes: "Pipes",
    ) -> None:
        """`memory_bytes`: what its group may use."""
        self._process = process
        self._group = group
        self._memory_bytes = memory_bytes
        self._over_memory = ""
        self.stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        self._pipes = pipes
        self._ended = asyncio.Event()
        self._gone: asyncio.Task[None] | None = None
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    @property
    def pid(self) -> int:
        """Bubblewrap's own, outside the sandbox; its death ends the sandbox."""
        return self._process.pid

    @property
    def over_memory(self) -> str:
        if not self._over_memory and self._group is not None and self._group.killed_for_memory:
            limit = f"their {format_size(self._memory_bytes)}" if self._memory_bytes else "their share"
            self._over_memory = f"Its processes needed more than {limit} of memory together."
        return self._over_memory

    @property
    def held_back(self) -> bool | None:
        """Whether the kernel made it wait for its processor quota; None: nothing here has one. Ask before `wait`."""
        return None if self._group is None else self._group.held_back

    async def wait(self) -> int:
        await self._ended.wait()
        if self._gone is None:
            self._gone = asyncio.create_task(self._clear_up())
        await asyncio.shield(self._gone)
        status = self._process.returncode
        return _SIGNALLED - status if status > _SIGNALLED else status

    def kill(self) -> None:
        if self._ended.is_set():
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._group is not None:
            self._group.kill()

    def kill_for_memory(self, why: str) -> None:
        self._over_memory = self._over_memory or why
        self.kill()

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._ended.set()

    async def _clear_up(self) -> None:
        """The group can go only when every process is dead, and only then have the pipes ended."""
        if self._group is not None:
            _ = self.over_memory  # while the group can still tell
            pause_s = _REMOVE_FIRST_S
            for _ in range(_REMOVE_TRIES):
                if self._group.remove():
                    break
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _REMOVE_EVERY_S)
        await self._pipes.settle()


@dataclass(frozen=True, slots=True)
class Pipes:
    """The standard streams of a process, on one event loop."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    readers: tuple[asyncio.ReadTransport, asyncio.ReadTransport]

    async def settle(self) -> None:
        """Once the process is dead: take what it still said into the streams, and close what has ended."""
        if not self.stdin.transport.is_closing():
            self.stdin.transport.abort()
        for _ in range(_TURNS_TO_THE_END):
            if all(transport.is_closing() for transport in self.readers):
                return
            await asyncio.sleep(0)


async def pipes_of(process: subprocess.Popen[bytes]) -> Pipes:
    """The process's standard streams, from now on this event loop's."""
    assert process.stdin is not None  # noqa: S101 - all three were asked for as pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    stdin = await _writer(process.stdin)
    (stdout, first), (stderr, second) = await _reader(process.stdout), await _reader(process.stderr)
    return Pipes(stdin, stdout, stderr, (first, second))


async def _writer(pipe: IO[bytes]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _reader(pipe: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), pipe)
    return reader, transport
