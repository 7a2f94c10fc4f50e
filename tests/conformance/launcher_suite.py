"""What every launcher promises, whatever the system. A subclass gives a `launcher` fixture.

The modules started are the standard library's own, given as `python -m` would take them, so that no launcher needs to
show the tests inside.
"""

import asyncio
import time
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, Mount, SandboxedProcess, SandboxSpec

DEADLINE_S = 20


async def finish(process: SandboxedProcess, given: bytes = b"") -> tuple[int, bytes, bytes]:
    """(exit status, standard output, standard error) of a process that ends by itself."""
    async with asyncio.timeout(DEADLINE_S):
        process.stdin.write(given)
        process.stdin.close()
        output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return await process.wait(), output, errors


def code(text: str) -> tuple[str, ...]:
    """Arguments that run a piece of Python inside."""
    return ("timeit", "-n1", "-r1", text)


class LauncherSuite:
    def test_report_says_what_is_enforced(self, launcher: Launcher) -> None:
        report = launcher.report
        assert report.name
        assert {"no network", "no host files", "read-only system", "no privileges"} <= set(report.layers)
        assert not set(report.layers) & set(report.missing)

    async def test_module_runs_with_its_arguments(self, launcher: Launcher) -> None:
        status, output, errors = await finish(
            await launcher.launch(SandboxSpec(arguments=("json.tool", "--compact"))), b'{"a": [1, 2]}'
        )
        assert (status, output.strip(), errors) == (0, b'{"a":[1,2]}', b"")

    async def test_exit_status_comes_through(self, launcher: Launcher) -> None:
        process = await launcher.launch(SandboxSpec(arguments=code("import os; os._exit(7)")))
        assert (await finish(process))[0] == 7

    async def test_death_by_signal_is_negative(self, launcher: Launcher) -> None:
        process = await launcher.launch(SandboxSpec(arguments=code("import ctypes; ctypes.string_at(0)")))
        assert (await finish(process))[0] == -11

    async def test_kill_ends_it_at_once_and_can_be_repeated(self, launcher: Launcher) -> None:
        process = await launcher.launch(
            SandboxSpec(arguments=code("import time; print(1, flush=True); time.sleep(60)"))
        )
        async with asyncio.timeout(DEADLINE_S):
            await process.stdout.readline()
            before = time.monotonic()
            process.kill()
            process.kill()
            assert await process.wait() == -9
            assert await process.stdout.read() == b""
        assert time.monotonic() - before < 1.0
        process.kill()

    async def test_output_comes_while_it_runs(self, launcher: Launcher) -> None:
        process = await launcher.launch(SandboxSpec(arguments=code("print(input(), flush=True); input()")))
        async with asyncio.timeout(DEADLINE_S):
            process.stdin.write(b"hello\n")
            assert await process.stdout.readline() == b"hello\n"
        process.kill()
        await process.wait()

    async def test_mount_is_readable_and_not_writable(self, launcher: Launcher, tmp_path: Path) -> None:
        (tmp_path / "weights").write_text("weights")
        mount = Mount(tmp_path, "/models/m")
        seen = mount.seen(launcher.report)
        look = f"print(open('{seen}/weights').read())\ntry: open('{seen}/x', 'w')\nexcept OSError: print('refused')"
        spec = SandboxSpec(arguments=code(look), mounts=(mount,))
        _, output, _ = await finish(await launcher.launch(spec))
        assert output.split()[:2] == [b"weights", b"refused"]
        assert [path.name for path in tmp_path.iterdir()] == ["weights"]

    async def test_writable_folder_can_be_written(self, launcher: Launcher, tmp_path: Path) -> None:
        work = Mount(tmp_path, "/work")
        seen = work.seen(launcher.report)
        spec = SandboxSpec(
            arguments=code(f"import os; os.mkdir('{seen}/d'); open('{seen}/d/x', 'w').write('made')"), writable=work
        )
        assert (await finish(await launcher.launch(spec)))[0] == 0
        assert (tmp_path / "d/x").read_text() == "made"

    async def test_memory_limit_is_enforced(self, launcher: Launcher) -> None:
        spec = SandboxSpec(arguments=code("bytearray(2 << 30)"), memory_bytes=1 << 30)
        process = await launcher.launch(spec)
        status, _, errors = await finish(process)
        assert status != 0
        assert b"MemoryError" in errors or process.over_memory

    async def test_thread_count_reaches_numeric_libraries(self, launcher: Launcher) -> None:
        spec = SandboxSpec(arguments=code("import os; print(os.environ['OMP_NUM_THREADS'])"), threads=3)
        assert (await finish(await launcher.launch(spec)))[1].split()[0] == b"3"

    async def test_missing_host_path_starts_nothing(self, launcher: Launcher, tmp_path: Path) -> None:
        spec = SandboxSpec(arguments=("this",), mounts=(Mount(tmp_path / "absent", "/models/m"),))
        status, output, _ = await finish(await launcher.launch(spec))
        assert status != 0
        assert output == b""

    async def test_mount_over_the_system_is_refused(self, launcher: Launcher, tmp_path: Path) -> None:
        with pytest.raises(SandboxUnavailableError):
            await launcher.launch(SandboxSpec(arguments=("this",), mounts=(Mount(tmp_path, "/usr/lib"),)))

    async def test_many_at_once(self, launcher: Launcher) -> None:
        processes = [await launcher.launch(SandboxSpec(arguments=code(f"print({number})"))) for number in range(6)]
        endings = await asyncio.gather(*(finish(process) for process in processes))
        assert [output.split()[0] for _, output, _ in endings] == [str(number).encode() for number in range(6)]
