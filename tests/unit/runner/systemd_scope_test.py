"""How systemd is asked for a group: golden, since not every machine that tests has systemd."""

import os
from pathlib import Path

import pytest

from runner.sandbox.linux import systemd_scope
from runner.sandbox.linux.systemd_scope import bus_environment, enter_scope, scope_command

_GOLDEN = """
/usr/bin/busctl --user --quiet call
org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv))
gogrid-worker-4711.scope fail 4
Description s GoGrid_worker PIDs au 1 4711 Delegate b true CollectMode s inactive-or-failed
0
"""


def test_scope_is_asked_for_with_delegation_for_this_process_alone() -> None:
    golden = [word.replace("_", " ") for word in _GOLDEN.split()]
    assert list(scope_command(Path("/usr/bin/busctl"), 4711, root=False)) == golden
    assert scope_command(Path("/usr/bin/busctl"), 4711, root=True)[1] == "--system"


def test_systemd_is_shown_nothing_of_the_environment_but_its_own_address() -> None:
    shown = {"XDG_RUNTIME_DIR": "/run/user/1000", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}
    assert bus_environment({**shown, "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/evil"}) == shown


@pytest.mark.parametrize("script", ["exit 1", None])
async def test_refusal_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> None:
    busctl = tmp_path / "busctl"
    if script is not None:
        busctl.write_text(f"#!/bin/sh\n{script}\n")
        busctl.chmod(0o755)
    monkeypatch.setattr(systemd_scope, "BUSCTL", busctl)
    before = Path("/proc/self/cgroup").read_text()
    assert not await enter_scope({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert Path("/proc/self/cgroup").read_text() == before


async def test_systemd_that_never_does_it_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busctl = tmp_path / "busctl"
    busctl.write_text('#!/bin/sh\nprintf %s "$*" > "${0}.told"\n')
    busctl.chmod(0o755)
    monkeypatch.setattr(systemd_scope, "BUSCTL", busctl)
    monkeypatch.setattr(systemd_scope, "_TIMEOUT_S", 0.2)
    assert not await enter_scope({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert f"gogrid-worker-{os.getpid()}.scope fail" in (tmp_path / "busctl.told").read_text()
