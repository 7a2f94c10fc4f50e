"""A coordinator's QUIC endpoint in a process of its own, so that its memory can be measured from outside.

Prints its port; then answers each line on standard input with its resident bytes and CPU seconds; ends with its input.
"""

from __future__ import annotations

import asyncio
import sys

import psutil

from coordinator.quic.limits import Limits
from tests.fakes.quic_grid import NO_LIMITS, coordinator


async def main() -> None:
    process = psutil.Process()
    async with coordinator(limits=Limits() if "--limited" in sys.argv else NO_LIMITS) as grid:
        key = bytes.fromhex(sys.argv[1])
        record = grid.directory.add_worker(key, "attacker")
        print(grid.server.port, record.id, grid.identity.pin.hex(), flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            times = process.cpu_times()
            print(process.memory_info().rss, times.user + times.system, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
