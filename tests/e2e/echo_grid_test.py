"""What users do, against real programs with the echo engine: the answers are known, so nothing can hide."""

import os
import signal
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from gogrid.client.local_grid import WORKER, LocalGrid
from tests.faults.faultgrid import words_of

pytestmark = pytest.mark.sandbox

GOGRID = str(Path(sysconfig.get_path("scripts")) / "gogrid")
SAY = "one two three four five"


def within(seconds: float, true: Callable[[], bool]) -> bool:
    """Whether something becomes true in time; the end-to-end tests wait for real programs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return true()


def running(grid: LocalGrid) -> int:
    with grid.client() as client:
        return sum(worker.running for worker in client.workers())


def gogrid(grid: LocalGrid, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    login = {"GOGRID_URL": grid.endpoint.plain_url, "GOGRID_API_KEY": grid.admin_key}
    environment = {**os.environ, **login, "GOGRID_CLIENT_CONFIG": str(folder / "client.toml")}
    return subprocess.run(
        [GOGRID, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_streamed_answer_is_the_whole_answer(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": SAY}]
    whole = client.chat.completions.create(model="echo", messages=messages, max_tokens=5)
    stream = client.chat.completions.create(
        model="echo", messages=messages, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text.split() == SAY.split()
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 5


def test_the_openai_client_works_over_tls_with_the_identity_as_its_only_authority(grid: LocalGrid) -> None:
    context = ssl.create_default_context(cafile=str(grid.certificate))
    with (
        httpx.Client(verify=context) as http,
        openai.OpenAI(base_url=f"{grid.endpoint.url}/v1", api_key=grid.admin_key, http_client=http) as client,
    ):
        assert [model.id for model in client.models.list()] == ["echo"]


def test_errors_are_the_openai_clients_own(client: openai.OpenAI, grid: LocalGrid) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nope", messages=[{"role": "user", "content": "hi"}])
    assert missing.value.code == "model_not_found"
    stranger = openai.OpenAI(base_url=f"{grid.endpoint.plain_url}/v1", api_key="ggk_wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_a_worker_keeps_what_its_models_are_called(grid: LocalGrid, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": SAY}], max_tokens=1)
    kept = grid.folder / WORKER / "state" / "model-names.json"
    assert within(5, lambda: kept.exists() and '"echo"' in kept.read_text())


def test_what_is_asked_while_the_only_worker_is_paused_is_answered_when_it_goes_on(
    grid: LocalGrid, client: openai.OpenAI
) -> None:
    ask = partial(client.chat.completions.create, model="echo", messages=[{"role": "user", "content": SAY}])
    grid.worker_command(WORKER, "pause")
    try:
        with pytest.raises(openai.InternalServerError, match="paused by its owner") as refused:
            ask(extra_body={"wait": False})
        assert refused.value.response.headers["retry-after"]
        with ThreadPoolExecutor(1) as aside:
            answering = aside.submit(ask)
            time.sleep(0.2)
            assert not answering.done()
            grid.worker_command(WORKER, "resume")
            assert (answering.result(20).choices[0].message.content or "").split() == SAY.split()
    finally:
        grid.worker_command(WORKER, "resume")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot_within_a_second(grid: LocalGrid, stream: bool) -> None:
    body = {
        "model": "echo",
        "stream": stream,
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "#echo chunks=4000 delay_ms=10\nhello"}],
    }
    headers = {"authorization": f"Bearer {grid.admin_key}"}
    with httpx.Client(base_url=grid.endpoint.plain_url, headers=headers) as http:
        if stream:
            with http.stream("POST", "/v1/chat/completions", json=body) as response:
                chunks = response.iter_bytes()
                next(chunks)
                assert running(grid) == 1
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post("/v1/chat/completions", json=body, timeout=0.5)
    assert within(1.0, lambda: running(grid) == 0)


def test_a_script_runs_with_its_files_and_its_output_comes_back(grid: LocalGrid, folder: Path) -> None:
    (folder / "numbers.txt").write_text("1\n2\n3\n")
    (folder / "job.py").write_text(
        "import sys\n"
        "total = sum(int(line) for line in open('numbers.txt'))\n"
        "print('total', total)\n"
        "print('careful', file=sys.stderr)\n"
        "open('result.txt', 'w').write(str(total))\n"
        "sys.exit(7)\n"
    )
    done = gogrid(grid, "run", "job.py", "--input", "numbers.txt", "--output", "out", folder=folder)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "total 6\n"
    assert "careful" in done.stderr
    assert (folder / "out" / "result.txt").read_text() == "6"


def test_empty_files_and_an_empty_script_are_files_too(grid: LocalGrid, folder: Path) -> None:
    (folder / "empty.txt").write_text("")
    (folder / "job.py").write_text("print(repr(open('empty.txt').read()))")
    done = gogrid(grid, "run", "job.py", "--input", "empty.txt", folder=folder)
    assert (done.returncode, done.stdout) == (0, "''\n"), done.stderr
    assert gogrid(grid, "run", "empty.txt", folder=folder).returncode == 0


def test_a_job_that_no_worker_could_ever_hold_is_refused_with_the_numbers(grid: LocalGrid, folder: Path) -> None:
    (folder / "job.py").write_text("print(1)")
    refused = gogrid(grid, "run", "--detach", "job.py", "--memory", "4TiB", folder=folder)
    assert refused.returncode == 125, "no exit code of the script"
    assert refused.stdout == ""
    assert "The job asks for 4.4 TB of memory and 1 core at once, which no worker lends" in refused.stderr


def test_a_job_that_finds_all_cores_taken_waits_for_them(grid: LocalGrid, folder: Path) -> None:
    (folder / "job.py").write_text("import time; time.sleep(1); print('ran')")
    with grid.client() as admin:
        (worker,) = admin.workers()
        cores = str(worker.cores)
        jobs = [
            gogrid(grid, "run", "--detach", "job.py", "--cpus", cores, folder=folder).stdout.strip() for _ in range(3)
        ]
        assert [[*admin.logs(job)][-1].state for job in jobs] == ["done", "done", "done"]


def test_a_script_that_runs_too_long_is_stopped_and_said_so(grid: LocalGrid, folder: Path) -> None:
    (folder / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    done = gogrid(grid, "run", "slow.py", "--timeout", "1", folder=folder)
    assert done.stdout == "begun\n"
    assert "1 s" in done.stderr
    assert done.returncode not in (0, None)


def test_a_cancelled_job_stops_and_says_so(grid: LocalGrid, folder: Path) -> None:
    (folder / "slow.py").write_text("import time\ntime.sleep(60)\n")
    job_id = gogrid(grid, "run", "--detach", "slow.py", folder=folder).stdout.strip()
    assert within(10.0, lambda: running(grid) == 1)
    assert gogrid(grid, "cancel", job_id, folder=folder).returncode == 0
    assert within(1.0, lambda: running(grid) == 0)
    with grid.client() as client:
        assert client.job(job_id).state == "cancelled"


def test_a_killed_executor_is_replaced_and_the_next_request_is_answered(grid: LocalGrid, client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": SAY}]
    client.chat.completions.create(model="echo", messages=messages, max_tokens=2)
    runner = psutil.Process(grid.worker_pid).children(recursive=True)
    executors = [process for process in runner if "runner.executor" in " ".join(words_of(process))]
    assert executors
    for process in executors:
        os.kill(process.pid, signal.SIGKILL)
    answer = client.chat.completions.create(model="echo", messages=messages, max_tokens=5)
    assert (answer.choices[0].message.content or "").split() == SAY.split()


def test_the_workers_reason_is_in_the_answer_when_nobody_can_serve(grid: LocalGrid, client: openai.OpenAI) -> None:
    with grid.client() as admin:
        (worker,) = admin.workers()
    grid.admin_command("worker", "drain", worker.id)
    try:
        assert within(2.0, lambda: _refusal(client) is not None)
        refusal = _refusal(client)
        assert refusal is not None
        assert "drain" in str(refusal)
        assert int(refusal.response.headers["retry-after"]) > 0
    finally:
        grid.admin_command("worker", "undrain", worker.id)
    assert within(2.0, lambda: _refusal(client) is None)


def _refusal(client: openai.OpenAI) -> openai.InternalServerError | None:
    try:
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hi"}], max_tokens=1)
    except openai.InternalServerError as error:
        return error
    return None
