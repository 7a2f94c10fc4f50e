"""A worker's status as people read it."""

from datetime import datetime

import pytest
from msgspec.structs import replace

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import ModelState, RunningJob
from runner.gates.gates import Gates
from runner.gates.observation import MachineSeen
from runner.gates.settings import GateSettings
from tests.fakes.worker_status import READY
from tray.commands.status_text import status_text

STATUS = replace(
    READY,
    readiness=Readiness.PAUSED,
    reason="the computer is in use",
    coordinator="grid.example.org:8443",
    connection="connected to grid.example.org:8443 as den-pc",
    device="RTX 4090: the best GPU found",
    sandbox="bubblewrap 0.11.0: no network",
    jobs=(RunningJob(job_id="job_1", kind="chat", model="smol", seconds=3.4),),
    models=(
        ModelState(digest="a" * 64, name="smol", state="loaded", memory_bytes=1_200_000_000, running=1),
        ModelState(digest="b" * 64, name="", state="downloading", fraction=0.42),
        ModelState(digest="c" * 64, name="minilm", state="cached"),
    ),
    jobs_done=7,
    jobs_failed=1,
)


def test_status_reads_like_this() -> None:
    assert status_text(STATUS) == (
        "Worker       den-pc, gogrid/0.1.0\n"
        "State        paused: the computer is in use\n"
        "Coordinator  grid.example.org:8443, connected to grid.example.org:8443 as den-pc\n"
        "Device       RTX 4090: the best GPU found\n"
        "Sandbox      bubblewrap 0.11.0: no network\n"
        "Jobs         1 running, 7 done, 1 failed\n"
        "             chat smol for 3 s (job_1)\n"
        "Models       smol: loaded, 1.2 GB, 1 running\n"
        "             bbbbbbbbbbbb: downloading, 42%\n"
        "             minilm: cached"
    )


def test_every_hold_an_end_and_throughput_are_told() -> None:
    end = datetime(2026, 11, 22, 18, 0).timestamp()
    held = ("paused by its owner", "paused: on battery")
    status = replace(
        STATUS, reason=held[0], holds=held, paused_until=end, tokens_per_s=84.6, memory_in_use=1_200_000_000, models=()
    )
    lines = status_text(status).splitlines()
    assert lines[1:3] == [
        "State        paused: paused by its owner until 2026-11-22 18:00",
        "             also: paused: on battery",
    ]
    assert "Jobs         1 running, 7 done, 1 failed, 85 tokens/s" in lines
    assert lines[-1] == "Memory       1.2 GB held by models"


@pytest.mark.parametrize(
    ("seen", "setting"),
    [
        (MachineSeen(others_cpu=0.97), "max_other_load"),
        (MachineSeen(others_gpu=0.97), "max_other_load"),
        (MachineSeen(others_gpu_memory=0.97), "max_other_load"),
        (MachineSeen(temperatures={"GPU": 97.0}), "max_temperature"),
    ],
    ids=["processor", "gpu", "gpu memory", "temperature"],
)
def test_a_limit_that_stops_it_is_told_with_its_setting(seen: MachineSeen, setting: str) -> None:
    gates, settings = Gates(), GateSettings(max_temperature=80)
    now = datetime(2026, 11, 22)
    for second in range(11):
        reasons = gates.judge(settings, None, seen, second, now)
    status = replace(STATUS, reason=reasons[0], holds=reasons)
    state = status_text(status).splitlines()[1]
    assert reasons[0].endswith(" allowed)")
    assert state == f"State        paused: {reasons[0][:-1]}; the setting is {setting})"


def test_why_it_is_not_connected_is_said_once() -> None:
    why = "No coordinator can be reached at hub:8443. Trying again in 4 s."
    text = status_text(replace(READY, connected=False, connection=f"not connected: {why}"))
    assert text.splitlines()[1:3] == [f"State        not connected: {why}", "Coordinator  hub:8443"]


def test_a_paused_worker_that_is_not_connected_says_both() -> None:
    away = replace(STATUS, connected=False, connection="not connected: nobody answers. Trying again in 4 s.")
    assert status_text(away).splitlines()[1:3] == [
        "State        paused: the computer is in use",
        "Coordinator  grid.example.org:8443, not connected: nobody answers. Trying again in 4 s.",
    ]
