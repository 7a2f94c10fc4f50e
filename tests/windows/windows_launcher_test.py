"""The Windows launcher keeps every launcher's promises, as far as Windows can, and as far as Wine shows it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gogrid.protocol.worker_report import DeviceKind
from runner.errors import SandboxUnavailableError
from runner.executor.messages import Load
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.windows.command import windows_home
from runner.sandbox.windows.launcher import WindowsLauncher
from runner.serving.executor_client import start_executor
from tests.conformance.launcher_suite import DEADLINE_S, LauncherSuite, code, finish
from tests.windows.surroundings import REPORT, under_wine

WINE = under_wine()


class TestWindowsLauncher(LauncherSuite):
    test_report_says_what_is_enforced = None  # a token closes neither the network nor the owner's files
    test_mount_over_the_system_is_refused = None  # nothing is mounted

    async def test_death_by_signal_is_negative(self, launcher: Launcher) -> None:
        process = await launcher.launch(SandboxSpec(arguments=code("import faulthandler; faulthandler._read_null()")))
        assert (await finish(process))[0] == -11

    async def test_output_comes_while_it_runs(self, launcher: Launcher) -> None:
        process = await launcher.launch(SandboxSpec(arguments=code("print(input(), flush=True); input()")))
        async with asyncio.timeout(DEADLINE_S):
            process.stdin.write(b"hello\n")
            assert await process.stdout.readline() == b"hello\r\n"
        process.kill()
        await process.wait()

    async def test_missing_host_path_starts_nothing(self, launcher: Launcher, tmp_path: Path) -> None:
        spec = SandboxSpec(arguments=("this",), mounts=(Mount(tmp_path / "absent", "/models/m"),))
        with pytest.raises(SandboxUnavailableError, match="does not exist"):
            await launcher.launch(spec)

    if WINE:  # reads the same there, but nothing refuses the write or the memory
        test_memory_limit_is_enforced = None

        async def test_mount_is_readable_and_not_writable(self, launcher: Launcher, tmp_path: Path) -> None:
            (tmp_path / "weights").write_text("weights")
            mount = Mount(tmp_path, "/models/m")
            spec = SandboxSpec(
                arguments=code(f"print(open('{mount.seen(launcher.report)}/weights').read())"), mounts=(mount,)
            )
            _, output, _ = await finish(await launcher.launch(spec))
            assert output.split()[0] == b"weights"


async def test_its_folder_is_there_while_it_runs_and_removed_afterwards(launcher: WindowsLauncher) -> None:
    look = "import os, tempfile; open('left', 'w').close(); print(os.getcwd()); print(tempfile.gettempdir())"
    _, output, _ = await finish(await launcher.launch(SandboxSpec(arguments=code(look))))
    places = [Path(line.decode()) for line in output.splitlines()[:2]]
    assert places[0] == places[1]
    assert places[0].name.startswith("gogrid-sandbox-")
    assert places[0].parent.is_dir()
    assert not places[0].exists()


async def test_what_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    home = replace(windows_home(running_interpreter()), executable=str(tmp_path / "absent.exe"))
    launcher = WindowsLauncher(home, REPORT, tmp_path)
    with pytest.raises(SandboxUnavailableError, match="Windows does not start a sandbox: CreateProcessAsUserW fails"):
        await launcher.launch(SandboxSpec(arguments=("this",)))
    assert list(tmp_path.iterdir()) == []


async def test_models_run(launcher: WindowsLauncher) -> None:
    """The real executor, over its real pipes, with the engine that needs no torch."""
    load = Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)
    spec = SandboxSpec(arguments=("runner.executor",))
    async with asyncio.timeout(DEADLINE_S):
        client, ready = await start_executor(launcher, spec, load, "echo", lambda _: None)
        assert ready.slots >= 1
        await client.close()
