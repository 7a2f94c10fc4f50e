"""What a sandbox costs: to start, against the same Python without one, and in a small script job from end to end.

Sandboxed and bare processes take turns, so that what disturbs the machine disturbs both. The sandbox is whole: its own
namespaces, mounts, control groups with limits, system call filter, resource limits and Landlock. The bare process is
the cheapest there is, the interpreter with nothing to do, without `site`, as inside.
"""

import asyncio
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.plain_http import Connection
from gogrid.client.local_grid import LocalGrid
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.linux.choice import bubblewrap_programs
from runner.sandbox.linux.groups import process_groups
from runner.sandbox.linux.launcher import BwrapLauncher, Program
from runner.sandbox.linux.python_home import python_home
from sandbox_profiles.seccomp_generate import filter_path

OVERHEAD_MS = 15.0
JOB_MS = 150.0
_TURNS = 60
_JOBS = 60
_WARM_UP = 5
_MODULE = "keyword"
"""A module of the standard library that does nothing."""
_SPEC = SandboxSpec(
    arguments=(_MODULE,), memory_bytes=2 << 30, cpu_seconds=600, cpu_cores=1, out_bytes=64 << 20, processes=256
)


def measure(folder: Path) -> Iterator[Figure]:
    yield from asyncio.run(_starts())
    yield _jobs(folder)


async def _starts() -> list[Figure]:
    program = Program(
        bwrap=bubblewrap_programs()[0],
        home=python_home(running_interpreter()),
        seccomp_filter=filter_path(platform.machine()),
        groups=await process_groups(),
    )
    unproved = SandboxReport(name="", layers=(), missing=(), python_jobs=False)
    ready = BwrapLauncher(replace(program, kept_ready=_MODULE), unproved)
    wanted = BwrapLauncher(program, unproved)
    bare: list[float] = []
    kept_ready: list[float] = []
    on_demand: list[float] = []
    for turn in range(_WARM_UP + _TURNS):
        times = (await _bare(), await _sandboxed(ready), await _sandboxed(wanted))
        if turn >= _WARM_UP:
            for all_of_a_kind, one in zip((bare, kept_ready, on_demand), times, strict=True):
                all_of_a_kind.append(one)
    base = median(bare)
    groups = "control groups" if program.groups else "no control groups"
    detail = f"{median(kept_ready):.1f} ms against {base:.1f} ms bare, {_TURNS} turns, {groups}"
    other = f"{median(on_demand):.1f} ms, as for a model's process"
    return [
        Figure(
            "start of a sandbox kept ready: more than a bare process, p50",
            median(kept_ready) - base,
            "ms",
            OVERHEAD_MS,
            False,
            detail,
        ),
        Figure(
            "start of a sandbox not kept ready: more than a bare process, p50",
            median(on_demand) - base,
            "ms",
            detail=other,
        ),
    ]


async def _bare() -> float:
    command = (str(running_interpreter().executable), "-I", "-S", "-B", "-c", "pass")
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, stderr=-1)
    await process.communicate()
    return (time.perf_counter() - began) * 1000


async def _sandboxed(launcher: BwrapLauncher) -> float:
    began = time.perf_counter()
    process = await launcher.launch(_SPEC)
    process.stdin.close()
    _, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
    status = await process.wait()
    took = (time.perf_counter() - began) * 1000
    if status != 0:
        raise RuntimeError(f"the sandbox ended with {status}: {errors.decode(errors='replace')[:500]}")
    return took


def _jobs(folder: Path) -> Figure:
    """From the request to the answer that has the job's end, each in a sandbox of its own."""
    line = json.dumps({"code": "print(6 * 7)"}).encode()
    with LocalGrid(folder) as grid:
        grid.init()
        grid.start_coordinator()
        grid.start_worker()
        times = []
        with Connection(grid.endpoint.plain_port, grid.admin_key, "Prefer: wait=60\r\n") as connection:
            for number in range(_WARM_UP + _JOBS):
                began = time.perf_counter()
                reply = connection.ask("POST", "/api/v1/jobs", line).require(201)
                if number >= _WARM_UP:
                    times.append((time.perf_counter() - began) * 1000)
                if b'"state":"done"' not in reply.body:
                    raise RuntimeError(f"the job did not end: {reply.body[:500]!r}")
    return Figure("warm script job from end to end, p50", median(times), "ms", JOB_MS, False, f"{_JOBS} jobs, no torch")
