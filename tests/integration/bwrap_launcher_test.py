"""The bubblewrap launcher keeps every launcher's promises; choosing one fails closed."""

import asyncio
import errno
import os
import platform
import stat
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, SandboxSpec
from runner.sandbox.choose import choose_launcher
from runner.sandbox.interpreter import Interpreter, running_interpreter
from runner.sandbox.linux.choice import bubblewrap_programs
from runner.sandbox.linux.process_group import ProcessGroup
from sandbox_profiles import linux
from tests.conformance.launcher_suite import LauncherSuite, code, finish

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    try:
        return asyncio.run(choose_launcher())
    except SandboxUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


class TestBwrapLauncher(LauncherSuite):
    pass


def program(folder: Path, text: str) -> Path:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def weakened(folder: Path, flag: str, instead: str) -> Path:
    """The real bubblewrap, told `instead` in the place of one of its options."""
    real = bubblewrap_programs()[0]
    path = folder / "bwrap"
    path.write_text(
        f"""#!{running_interpreter().executable} -ISB
import os, sys
if sys.argv[1] == "--version": os.execv({str(real)!r}, [{str(real)!r}, "--version"])
told = os.fdopen(int(sys.argv[2]), "rb").read().decode().split("\\0")[:-1]
words = [new for word in told for new in ({instead.split()!r} if word == {flag!r} else [word])]
other = os.memfd_create("options", 0)
os.write(other, "".join(word + "\\0" for word in words).encode())
os.lseek(other, 0, 0)
os.execv({str(real)!r}, [{str(real)!r}, "--args", str(other), *sys.argv[3:]])
"""
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'setting up uid map: Permission denied' >&2; exit 1", "Permission denied"),
        ("exit 0", "no readable self-test report"),
        ("echo '{}'", "no readable self-test report"),
        ("exit 3", "exit status 3"),
    ],
)
async def test_program_that_makes_no_sandbox_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=words) as refusal:
        await choose_launcher([program(tmp_path, text)])
    assert "apt install bubblewrap" in str(refusal.value)


async def test_program_that_cannot_start_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="cannot be started"):
        await choose_launcher([tmp_path / "absent"])
    with pytest.raises(SandboxUnavailableError, match="No sandbox works"):
        await choose_launcher([])


_UNSANDBOXED = (
    "import os, runpy, sys; from runner.sandbox.linux.orders import heard; _, module = sys.argv[1:]; "
    "sys.argv[1:] = heard(os.read(0, int(os.read(0, 8), 16)))[1]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


async def test_program_that_runs_the_probe_unsandboxed_is_refused(tmp_path: Path) -> None:
    """The worst fake: it does what it is told but isolates nothing."""
    running = running_interpreter()
    fake = program(
        tmp_path,
        '[ "$1" = --version ] && exit 0\nwhile [ "$1" != - ]; do shift; done\n'
        f'export PYTHONPATH={running.sources[0].parent} SECRET=x\nexec {running.executable} -c "{_UNSANDBOXED}" "$@"',
    )
    with pytest.raises(SandboxUnavailableError, match=r"no network.*no host files.*no privileges.*seccomp filter"):
        await choose_launcher([fake])


@pytest.mark.parametrize(
    ("flag", "instead", "layer"),
    [
        ("--unshare-all", "--unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup", "no network"),
        ("--clearenv", "--clearenv --ro-bind / /host", "no host files"),
        ("--clearenv", "--clearenv --setenv SECRET x", "clean environment"),
        ("--remount-ro", "--dir", "read-only system"),
        ("--cap-drop", "--cap-add", "no privileges"),
        ("--as-pid-1", "--die-with-parent", "own process tree"),
        ("--seccomp", "--sync-fd", "seccomp filter, clean environment"),
    ],
)
async def test_sandbox_without_one_layer_is_refused(tmp_path: Path, flag: str, instead: str, layer: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=f"did not enforce: {layer}"):
        await choose_launcher([weakened(tmp_path, flag, instead)])


async def test_next_program_is_tried_when_the_first_fails(tmp_path: Path) -> None:
    launcher = await choose_launcher([program(tmp_path, "exit 1"), *bubblewrap_programs()])
    assert str(bubblewrap_programs()[0]) in launcher.report.name
    (skipped,) = launcher.report.skipped
    assert str(tmp_path) in skipped


async def test_groups_that_nothing_can_join_are_done_without_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(group: ProcessGroup, pid: int) -> None:
        raise OSError(errno.EOPNOTSUPP, f"{group} takes no {pid}")

    monkeypatch.setattr(ProcessGroup, "add", refuse)
    report = (await choose_launcher()).report
    assert {linux.MEMORY_LAYER, linux.CPU_LAYER} <= set(report.missing)
    assert not {linux.MEMORY_LAYER, linux.CPU_LAYER} & set(report.layers)


async def test_gpu_that_was_not_proved_is_neither_reported_nor_granted(launcher: Launcher) -> None:
    report = (await choose_launcher(gpus=("GPU-of-somebody-else",))).report
    assert report.gpus == ()
    assert [words for words in report.missing if words.startswith(linux.GPU_LAYER)]
    with pytest.raises(SandboxUnavailableError, match="GPU-of-somebody-else did not work"):
        await launcher.launch(SandboxSpec(arguments=("this",), gpus=("GPU-of-somebody-else",)))


async def test_processor_without_a_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailableError, match="riscv64"):
        await choose_launcher()


async def test_system_python_runs_inside(tmp_path: Path) -> None:
    """A Debian python3 below /usr, with packages elsewhere, one of them installed editable."""
    executable = Path("/usr/bin/python3").resolve()
    if not executable.is_relative_to("/usr") or not executable.exists():
        pytest.skip("this system has no Python below /usr")
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "wanted.py").write_text("answer = 42")
    (site / "__editable__.thing.pth").write_text("/nowhere/on/this/host\nimport nothing_of_this_name\n")
    running = running_interpreter()
    version = executable.name.removeprefix("python")
    python = Interpreter(executable, Path("/usr"), version, False, (site,), running.sources)
    launcher = await choose_launcher(python=python)
    process = await launcher.launch(SandboxSpec(arguments=code("import sys, wanted; print(wanted.answer, sys.prefix)")))
    status, output, errors = await finish(process)
    assert (status, output.split()[:2], errors) == (0, [b"42", b"/usr"], b"")


@pytest.mark.torch
async def test_executor_like_process_can_run_torch(launcher: Launcher) -> None:
    pytest.importorskip("torch")
    spec = SandboxSpec(
        arguments=code("import torch; a = torch.randn(512, 512); print(torch.get_num_threads(), (a @ a).shape)"),
        threads=2,
    )
    process = await launcher.launch(spec)
    async with asyncio.timeout(90):
        output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
        await process.wait()
    assert errors == b""
    assert output.startswith(b"2 torch.Size([512, 512])")
