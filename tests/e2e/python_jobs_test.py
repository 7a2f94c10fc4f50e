"""Python jobs as their users meet them: examples of the seeds as written, every way to end, an owner who returns."""

import os
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from gogrid.client.answers import Job, Limits
from gogrid.client.client import GoGrid
from gogrid.client.errors import RefusedError
from gogrid.client.local_grid import LocalGrid

pytestmark = pytest.mark.sandbox

SCRIPTS = Path(sysconfig.get_path("scripts"))
SUM = """
# Calculate sum of squares
result = sum(i**2 for i in range(1_000_000))
print(f"Result: {result}")
"""
FOREST = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.datasets import make_classification

# Generate data
X, y = make_classification(n_samples=10000, n_features=20)

# Train model
clf = RandomForestClassifier(n_estimators=100)
clf.fit(X, y)

print(f"Accuracy: {clf.score(X, y):.4f}")
"""
MATRIX = """
import numpy as np

# Heavy matrix multiplication
A = np.random.rand(1000, 1000)
B = np.random.rand(1000, 1000)
C = np.dot(A, B)

print(f"Result shape: {C.shape}")
print(f"Sum: {C.sum():.2f}")
"""
SOLVE = """
import numpy as np
# Your scientific computation
result = np.linalg.solve(A, b)
print(result)
"""
GROUP = """
import pandas as pd
# Process data chunk
df = pd.read_csv('data.csv')
result = df.groupby('category').sum()
print(result)
"""
MODEL = """
from sklearn.ensemble import RandomForestClassifier
# Train model
model = RandomForestClassifier()
model.fit(X_train, y_train)
print(model.score(X_test, y_test))
"""
SPLIT = """
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
X_train, X_test, y_train, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
"""
TORCH = "import torch\nprint(torch.linspace(0, 1, 300).reshape(30, 10).matmul(torch.ones(10, 3)).shape)"


def gogrid(grid: LocalGrid, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    login = {"GOGRID_URL": grid.endpoint.plain_url, "GOGRID_API_KEY": grid.admin_key}
    environment = {**os.environ, **login, "GOGRID_CLIENT_CONFIG": str(folder / "client.toml")}
    command = [str(SCRIPTS / "gogrid"), *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=90)


def worker_command(grid: LocalGrid, *words: str) -> None:
    command = [str(SCRIPTS / "gogrid-worker"), "--data", str(grid.folder / "worker"), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def until(client: GoGrid, job_id: str, *states: str) -> Job:
    end = time.monotonic() + 30
    while (job := client.job(job_id)).state not in states:
        assert time.monotonic() < end, job
        time.sleep(0.02)
    return job


@pytest.mark.torch
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (SUM, "Result: 333332833333500000\n"),
        (FOREST, "Accuracy: "),
        (MATRIX, "Result shape: (1000, 1000)\nSum: "),
        (f"import numpy as np\nA, b = np.array([[3.0, 1], [1, 2]]), np.array([9.0, 8])\n{SOLVE}", "[2. 3.]\n"),
        (GROUP, "          amount\ncategory        \na              4\nb              2\n"),
        (SPLIT + MODEL, "0.9"),
        (TORCH, "torch.Size([30, 3])\n"),
    ],
    ids=["sum", "forest", "matrix", "linalg", "pandas", "sklearn", "torch"],
)
def test_the_seeds_examples_run_as_written(grid: LocalGrid, folder: Path, code: str, shown: str) -> None:
    (folder / "data.csv").write_text("category,amount\na,1\nb,2\na,3\n")
    done = gogrid(grid, "run", "-c", code, "--input", "data.csv", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(shown)


CROWD = """
import multiprocessing, time
def hold(_):
    x = bytearray(200 << 20)
    time.sleep(30)
multiprocessing.Pool(2).map(hold, [1, 2])
"""
"""The kernel kills one of the children, and the others wait for it."""


@pytest.mark.parametrize(
    ("code", "options", "exit_code", "word"),
    [
        ("raise SystemExit(7)", [], 7, ""),
        ("import ctypes; ctypes.string_at(0)", [], 139, "stopped (crashed: SIGSEGV)"),
        ("import os; os.abort()", [], 134, "stopped (crashed: SIGABRT)"),
        ("import time; time.sleep(60)", ["--timeout", "1"], 137, "stopped (timeout): It ran longer than its limit"),
        ("x = bytearray(1 << 30)", ["--memory", "256MB"], 137, "stopped (memory): "),
        (CROWD, ["--memory", "300MB", "--timeout", "40"], 137, "stopped (memory): Its processes needed more than "),
        ("while True: pass", ["--timeout", "20", "--cpus", "0.05"], 152, "stopped (cpu_time): "),
        ("open('x', 'wb').write(b'x' * 2000)", ["--max-output", "1kB"], 125, "stopped (output_too_large): "),
        ("[open(str(n), 'w') for n in range(3)]", ["--max-files", "2"], 125, "stopped (output_too_large): "),
        ("import no_such_thing", [], 1, "Its worker has no module 'no_such_thing', but numpy "),
    ],
    ids=["failed", "segv", "abort", "timeout", "memory", "memory of a pool", "cpu_time", "bytes", "files", "module"],
)  # fmt: skip
def test_every_end_has_a_word_and_an_exit_code(
    grid: LocalGrid, folder: Path, code: str, options: list[str], exit_code: int, word: str
) -> None:
    done = gogrid(grid, "run", "-c", code, *options, folder=folder)
    assert done.returncode == exit_code
    assert word in done.stderr
    assert "gogrid: " in done.stderr or not word


def test_a_program_of_several_files_takes_arguments_and_leaves_files_to_fetch_later(
    grid: LocalGrid, folder: Path
) -> None:
    (folder / "app/lib").mkdir(parents=True)
    (folder / "app/__main__.py").write_text(
        "import sys\nfrom lib.tool import double\nopen('out.txt', 'w').write(double(sys.argv[1]))\nprint(sys.argv[2:])"
    )
    (folder / "app/lib/tool.py").write_text("def double(text): return text * 2\n")
    sent = gogrid(grid, "run", "app", "ab", "--detach", "--", "--flag", folder=folder)
    assert sent.returncode == 0, sent.stderr
    job_id = sent.stdout.strip()
    followed = gogrid(grid, "logs", "-f", job_id, folder=folder)
    assert (followed.stdout, followed.stderr) == ("['--flag']\n", "")
    fetched = gogrid(grid, "jobs", "files", job_id, "--output", "got", folder=folder)
    assert fetched.stderr == "gogrid: 1 output file in got: out.txt\n"
    assert (folder / "got/out.txt").read_text() == "abab"


def test_an_owner_who_returns_ends_the_script_and_the_job_goes_on_later(grid: LocalGrid) -> None:
    code = b"import sys, time\nprint('begun', flush=True)\ntime.sleep(float(sys.argv[1]))\n"
    with grid.client() as client:
        job = client.submit_python({"s.py": code}, "s.py", arguments=["1.5"])
        until(client, job.id, "running")
        worker_command(grid, "pause")
        try:
            waiting = until(client, job.id, "queued")
            [attempt] = waiting.history or ()
            assert (attempt.ended, attempt.why) == ("owner_returned", "The worker is paused by its owner.")
            assert (waiting.crashes, waiting.result) == (0, None)
        finally:
            worker_command(grid, "resume")
        done = until(client, job.id, "done")
        assert done.result is not None
        assert done.result.ended == "ok"
        assert done.attempts >= 2


def test_a_script_that_no_worker_can_hold_is_refused_at_once(grid: LocalGrid, folder: Path) -> None:
    refused = gogrid(grid, "run", "-c", "1", "--cpus", "1000", folder=folder)
    assert refused.returncode == 125
    assert "1000 cores at once, which no worker lends: " in refused.stderr
    with grid.client() as client, pytest.raises(RefusedError, match="a job may ask for 1 s to 604800 s"):
        client.submit_python({"s.py": b"1"}, "s.py", limits=Limits(wall_s=1e6))
