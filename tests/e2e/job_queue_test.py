"""The queue as its users meet it: jobs for models, bulks, priorities, and keys that wait for each other."""

import json
import os
import subprocess
import sysconfig
import time
from pathlib import Path

import httpx
import pytest

from gogrid.client.answers import Job, ModelJobRequest
from gogrid.client.client import GoGrid
from gogrid.client.errors import RefusedError
from gogrid.client.local_grid import LocalGrid

pytestmark = pytest.mark.sandbox

GOGRID = str(Path(sysconfig.get_path("scripts")) / "gogrid")
COORDINATOR = str(Path(sysconfig.get_path("scripts")) / "gogrid-coordinator")
SLEEPS = b"import sys, time\ntime.sleep(float(sys.argv[1]))\n"


def gogrid(grid: LocalGrid, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    login = {"GOGRID_URL": grid.endpoint.plain_url, "GOGRID_API_KEY": grid.admin_key}
    environment = {**os.environ, **login, "GOGRID_CLIENT_CONFIG": str(folder / "client.toml")}
    return subprocess.run(
        [GOGRID, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def ended(client: GoGrid, *job_ids: str) -> list[Job]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        jobs = [client.job(job_id) for job_id in job_ids]
        if all(job.ended for job in jobs):
            return jobs
        time.sleep(0.05)
    raise AssertionError(f"not ended: {jobs}")


def chat(text: str, **more: object) -> ModelJobRequest:
    messages = [{"role": "user", "content": text}]
    return ModelJobRequest(kind="chat", request={"model": "echo", "messages": messages, "max_tokens": 50}, **more)  # type: ignore[arg-type]


def test_a_chat_job_is_answered_kept_and_read_by_the_beginning_of_its_id(grid: LocalGrid, folder: Path) -> None:
    with grid.client() as client:
        job = client.submit_request(chat("one two three"))
        (done,) = ended(client, job.id)
        assert (done.state, done.kind, done.worker_name is not None) == ("done", "chat", True)
        assert client.text(job.id).text.split() == ["one", "two", "three"]
        assert client.text(job.id).usage.completion_tokens >= 3
    short = job.id.removeprefix("job_")[:12]
    shown = gogrid(grid, "jobs", "result", short, folder=folder)
    assert (shown.returncode, shown.stdout.split()) == (0, ["one", "two", "three"])
    facts = gogrid(grid, "jobs", "show", short, folder=folder).stdout
    assert facts.startswith(f"job        {job.id}\nwhat       echo (chat)\nstate      done\npriority   0\nworker     ")
    as_json = json.loads(gogrid(grid, "jobs", "show", short, "--json", folder=folder).stdout)
    assert (as_json["id"], as_json["history"]) == (job.id, [])


def test_completions_and_whole_bulks_come_back_in_order(grid: LocalGrid) -> None:
    with grid.client() as client:
        wanted = [chat(f"number {number}", label=str(number)) for number in range(200)]
        once = "the-same-bulk"
        ids = client.submit_many(wanted, idempotency_key=once)
        assert client.submit_many(wanted, idempotency_key=once) == ids
        jobs = ended(client, *ids)
        assert [job.label for job in jobs] == [str(number) for number in range(200)]
        assert [client.text(job_id).text.split() for job_id in ids[:3]] == [["number", str(n)] for n in range(3)]
        completion = ModelJobRequest(kind="completion", request={"model": "echo", "prompt": "say it", "max_tokens": 9})
        (done,) = ended(client, client.submit_request(completion).id)
        assert client.text(done.id).text.split() == ["say", "it"]
        with pytest.raises(RefusedError, match=r"line 2: `request\.messages`"):
            client.submit_many([chat("a"), {"kind": "chat", "request": {"messages": []}}])


def test_an_urgent_script_passes_those_that_wait_and_says_when_it_starts(grid: LocalGrid, folder: Path) -> None:
    with grid.client() as client:
        cores = sum(worker.cores for worker in client.workers() if worker.connected)

        def script(label: str, seconds: str, priority: int = 0) -> str:
            files = {"s.py": SLEEPS}
            return client.submit_python(files, "s.py", arguments=[seconds], label=label, priority=priority).id

        running = [script("running", "60") for _ in range(cores)]
        waiting = [script("waiting", "0.1") for _ in range(3)]
        urgent = script("urgent", "0.1", 50)
        assert [client.job(job_id).queue_position for job_id in (urgent, *waiting)] == [0, 1, 2, 3]
        shown = gogrid(grid, "jobs", "show", urgent, folder=folder).stdout
        assert "queued, 0 before it" in shown
        assert "priority   50" in shown
        assert "all its cores run Python jobs" in shown
        listed = gogrid(grid, "jobs", "--state", "queued", folder=folder).stdout
        assert listed.count("queued, ") == 4
        client.cancel(running[0])
        (first,) = ended(client, urgent)
        for job_id in running[1:]:
            client.cancel(job_id)
        assert (first.started_at or 0.0) <= min(job.started_at or 0.0 for job in ended(client, *waiting))


def test_one_keys_flood_does_not_hold_up_anothers_single_job(grid: LocalGrid) -> None:
    command = [COORDINATOR, "key", "create", "--name", "noisy", "--json", "--data", str(grid.folder / "coordinator")]
    with grid.client() as client:
        noisy_key = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["key"]
        headers = {"authorization": f"Bearer {noisy_key}", "content-type": "application/jsonl"}
        flood = "\n".join(
            json.dumps({"code": "import time; time.sleep(1)", "label": str(number)}) for number in range(100)
        )
        with httpx.Client(base_url=grid.endpoint.plain_url, headers=headers, timeout=30) as noisy:
            end = time.monotonic() + 10
            while (reply := noisy.post("/api/v1/jobs/bulk", content=flood)).status_code == 401:
                assert time.monotonic() < end
                time.sleep(0.2)  # the key is new, and the coordinator looks once a second
            assert reply.status_code == 201, reply.text
            mine = client.submit_python({"s.py": b"print(1)"}, "s.py")
            assert mine.queue_position in (0, None)
            (done,) = ended(client, mine.id)
            assert done.state == "done"
            waiting = noisy.get("/api/v1/jobs?state=queued&limit=1000").json()["data"]
            assert len(waiting) > 60, "the flood still waits"
            assert noisy.delete(f"/api/v1/jobs/{mine.id}").status_code == 404
            for job_id in reply.json()["ids"]:
                noisy.delete(f"/api/v1/jobs/{job_id}")


def test_a_failed_script_is_tried_again_by_the_command(grid: LocalGrid, folder: Path) -> None:
    with grid.client() as client:
        job = client.submit_python({"s.py": b"raise SystemExit(3)"}, "s.py")
        assert ended(client, job.id)[0].state == "failed"
        again = gogrid(grid, "jobs", "requeue", job.id, folder=folder)
        assert (again.returncode, again.stdout) == (0, f"{job.id} waits again.\n")
        (failed,) = ended(client, job.id)
        assert (failed.state, failed.attempts) == ("failed", 2)
        (folder / "ok.py").write_text("print('ok')")
        done = client.submit_python({"s.py": b"print(1)"}, "s.py")
        ended(client, done.id)
        refused = gogrid(grid, "jobs", "requeue", done.id, folder=folder)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1


def test_the_workers_table_says_what_each_does(grid: LocalGrid, folder: Path) -> None:
    lines = gogrid(grid, "workers", folder=folder).stdout.splitlines()
    assert lines[0].split() == ["WORKER", "STATE", "JOBS", "DEVICE", "MODELS", "WHY"]
    assert " ready " in lines[1]
