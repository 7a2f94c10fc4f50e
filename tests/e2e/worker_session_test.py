"""A whole session: what a worker measured reaches the API, and no secret is left anywhere but in its own file."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gogrid.client.local_grid import LocalGrid
from gogrid.jointoken import parse

pytestmark = pytest.mark.sandbox
T = TypeVar("T")
WORKER = "worker"


class Listening(LocalGrid):
    """Remembers the join tokens it was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"GOGRID_LOG_LEVEL": "debug", "GOGRID_COORDINATOR_LOG_LEVEL": "debug"})
        self.tokens: list[str] = []

    def _admin(self, answer: type[T], *arguments: str) -> T:
        made = super()._admin(answer, *arguments)
        self.tokens += [made.token] if hasattr(made, "token") else []
        return made


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with Listening(tmp_path_factory.mktemp("grid")) as made:
        made.init()
        made.add_model("echo")
        made.start_coordinator()
        made.start_worker(WORKER)
        yield made


def forms(secret: bytes) -> list[bytes]:
    """As it is, and as programs write bytes."""
    texts = [base64.b64encode(secret), base64.urlsafe_b64encode(secret), base64.b32encode(secret)]
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), *(text.rstrip(b"=") for text in texts)]


def private_bytes(path: Path) -> bytes:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key.private_bytes_raw()


def ask(grid: Listening, *words: str, given: str = "") -> str:
    """Both streams of a command."""
    command = [sys.executable, "-m", "tray.cli", "--data", str(grid.folder / WORKER), *words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def use(grid: Listening) -> list[str]:
    """Chat, ask what workers are asked, and make the mistakes that people make; returns what was answered."""
    token, key = grid.tokens[0], grid.admin_key
    with openai.OpenAI(base_url=f"{grid.endpoint.plain_url}/v1", api_key=key, max_retries=0) as client:
        asked = [{"role": "user", "content": "hello"}]
        assert client.chat.completions.create(model="echo", messages=asked).choices[0].message.content == "hello"  # type: ignore[call-overload]
    answers = [ask(grid, word, "--json") for word in ("status", "doctor", "config", "logs")]
    answers += [ask(grid, "join", "-", given=token), ask(grid, "join", "-", given=token[:-3])]
    wrong = httpx.get(f"{grid.endpoint.plain_url}/v1/models", headers={"Authorization": f"Bearer {key[:-2]}xx"})
    assert wrong.status_code == 401
    return [*answers, wrong.text]


def test_what_was_measured_is_shown_for_its_worker_and_only_for_its_device(grid: Listening) -> None:
    device = next(
        device for device in json.loads(ask(grid, "status", "--json"))["devices"] if device.get("usable", True)
    )
    found = {"engine": "e", "tokens_per_s": 320.5, "stream_tokens_per_s": 26.5, "memory_bandwidth": 1.5e10}
    file = grid.folder / WORKER / "state" / "speed.json"
    for name, shown in ((device["name"], {key: found[key] for key in list(found)[1:]}), ("another", None)):
        file.write_text(json.dumps({**found, "device": name, "measured_at": 1.0, "software": "s"}))
        deadline = time.monotonic() + 5
        while speed(grid) != shown:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def speed(grid: Listening) -> object:
    headers = {"Authorization": f"Bearer {grid.admin_key}"}
    return httpx.get(f"{grid.endpoint.plain_url}/api/v1/workers", headers=headers).json()["data"][0]["speed"]


def test_no_file_and_no_answer_holds_a_secret_but_its_own_file(grid: Listening) -> None:
    answers = use(grid)
    worker = grid.folder / WORKER
    own = {worker / "state" / "worker.key", grid.data / "identity.key"}
    secrets = {
        "the join token": [grid.tokens[0].encode()],
        "the join token's seed": forms(parse(grid.tokens[0], 0.0).seed),
        "the API key": [grid.admin_key.encode(), grid.admin_key.rpartition("_")[2].encode()],
        "the worker's key": forms(private_bytes(worker / "state" / "worker.key")),
        "the coordinator's key": forms(private_bytes(grid.data / "identity.key")),
    }
    grid.stop()
    files = [path for path in grid.folder.rglob("*") if path.is_file() and path not in own]
    logs = [path for path in files if ".log" in path.name]
    assert {path.name for path in logs} >= {"worker.log", "coordinator.log"}
    assert any(path.parent == worker / "logs" for path in logs)
    found = {
        f"{name} in {path.relative_to(grid.folder)}"
        for path in files
        for name, written in secrets.items()
        if any(form in path.read_bytes() for form in written)
    }
    assert found == set()
    told = "\n".join(answers).encode()
    assert {name for name, written in secrets.items() if any(form in told for form in written)} == set()
    assert json.loads(answers[0])["connected"] is True
