"""A good client under bad conditions, in a process of its own: `python -m tests.faults.load ORDER.json`.

It hands in durable jobs and reads streamed answers, writes to its log what it tried, what was acknowledged and what it
saw completed, and goes on through coordinators that die: a request without an answer is repeated with the same
`Idempotency-Key`, at once or later, and some that were answered are repeated too. One line on standard input, the
seconds it may still take, ends it: nothing new is begun, everything acknowledged is waited for, and all of it is read
back once more.
"""

import base64
import hashlib
import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from tests.faults.client_log import Acknowledged, Attempted, ClientLog, Completed, Streamed

EVERY_KIND: tuple[Literal["python", "chat", "completion"], ...]
EVERY_KIND = ("python", "python", "python", "python", "chat", "completion")
FINAL = ("done", "failed", "cancelled", "dead")
SCRIPT = """
import secrets, time
run = secrets.token_hex(8)
time.sleep({seconds})
open("proof.txt", "w").write(run) if {proof} else None
print("run", run)
"""
_ASKED_TWICE = 0.1
"""Share of acknowledged jobs that are handed in once more, as a client does whose answer was lost."""
_POLL_S = 0.1
_RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one client process does."""

    url: str = ""
    key: str = ""
    log: str = ""
    seed: int = 0
    submitters: int = 0
    open_jobs: int = 8
    """Durable jobs that may be under way at once; more are not handed in before some have ended."""
    jobs: int = 0
    """How many in all; 0: until it is ended."""
    job_s: float = 0.0
    """How long each script sleeps."""
    proof_every: int = 5
    """Every so many jobs leave an output file that proves which run was accepted; 0: none."""
    kinds: tuple[Literal["python", "chat", "completion"], ...] = ("python",)
    """Of durable jobs, in turn."""
    answer_words: int = 5
    """Of durable answers, 10 ms each."""
    streams: int = 0
    """Streamed answers under way at once."""
    stream_count: int = 0
    """How many in all; 0: until it is ended."""
    stream_words: int = 60
    stream_delay_ms: int = 20
    model: str = "echo"


class Client:
    """What the threads share."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.log = ClientLog(Path(order.log))
        self.ending = threading.Event()
        self.deadline = float("inf")
        self.numbers = itertools.count()
        self.stream_numbers = itertools.count()
        self.room = threading.Semaphore(order.open_jobs)
        self.lock = threading.Lock()
        self.open: dict[str, str] = {}
        """Jobs that have not been seen to end, with their operation."""
        self.known: dict[str, str] = {}

    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.order.url,
            headers={"authorization": f"Bearer {self.order.key}"},
            timeout=httpx.Timeout(10.0, connect=2.0),
            trust_env=False,
        )

    def insist(self, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Ask until there is an answer that is not "later"; None once the time is over."""
        for turn in itertools.count():
            if time.monotonic() > self.deadline:
                return None
            with suppress(httpx.TransportError):
                answer = send()
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
            time.sleep(_RETRY_S[min(turn, len(_RETRY_S) - 1)])
        return None


def submit_jobs(client: Client, luck: random.Random) -> None:
    order = client.order
    with client.http() as http:
        while not client.ending.is_set():
            number = next(client.numbers)
            if order.jobs and number >= order.jobs:
                return
            while not client.room.acquire(timeout=0.2):
                if client.ending.is_set():
                    return
            op = f"job-{order.seed}-{number}"
            body = json.dumps(_body(order, op, number)).encode()
            client.log.write(Attempted(op))
            times = 2 if luck.random() < _ASKED_TWICE else 1
            for _ in range(times):
                _hand_in(client, http, op, body)


def _hand_in(client: Client, http: httpx.Client, op: str, body: bytes) -> None:
    headers = {"idempotency-key": op, "content-type": "application/json"}
    answer = client.insist(lambda: http.post("/api/v1/jobs", content=body, headers=headers))
    if answer is None:
        return
    if answer.status_code not in (200, 201):
        raise SystemExit(f"{op} was refused with {answer.status_code}: {answer.text[:300]}")
    job = answer.json()["id"]
    client.log.write(Acknowledged(op, job))
    with client.lock:
        if job not in client.known:
            client.known[job] = client.open[job] = op


def _body(order: Order, op: str, number: int) -> dict[str, object]:
    kind = order.kinds[number % len(order.kinds)]
    if kind == "python":
        proof = bool(order.proof_every) and number % order.proof_every == 0
        limits = {"memory_bytes": 128 << 20, "cpu_cores": 0.25, "wall_s": 60}
        return {"label": op, "code": SCRIPT.format(seconds=order.job_s, proof=proof), "limits": limits}
    said = f"#echo chunks={order.answer_words} delay_ms=10\n{op} says this"
    asked = {"messages": [{"role": "user", "content": said}]} if kind == "chat" else {"prompt": said}
    return {"kind": kind, "label": op, "request": {"model": order.model, "max_tokens": order.answer_words, **asked}}


def watch_jobs(client: Client) -> None:
    """Look at what is under way until the process ends; the last look is `read_back`'s."""
    with client.http() as http:
        while not (client.ending.is_set() and not client.open):
            if time.monotonic() > client.deadline:
                return
            for job, op in list(client.open.items()):
                if time.monotonic() > client.deadline:
                    return
                with suppress(httpx.TransportError):
                    if _look(client, http, job, op):
                        with client.lock:
                            del client.open[job]
                        client.room.release()
            time.sleep(_POLL_S)


def _look(client: Client, http: httpx.Client, job: str, op: str) -> bool:
    """Whether the job has ended; then that is logged."""
    answer = http.get(f"/api/v1/jobs/{job}")
    if answer.status_code != 200:
        return False
    found = answer.json()
    if found["state"] not in FINAL:
        return False
    why = (found.get("error") or {}).get("message", "")
    client.log.write(Completed(op, job, found["state"], _mark(found), why[:200]))
    return True


def _mark(found: dict[str, object]) -> str:
    """A second accepted completion would change one of these."""
    result = json.dumps(found["result"], sort_keys=True).encode()
    return f"epoch {found['epoch']} at {found['finished_at']} result {hashlib.sha256(result).hexdigest()[:16]}"


def read_back(client: Client) -> None:
    """At the end: every job once more, and whatever else lies there under our name."""
    with client.http() as http:
        for job, op in list(client.known.items()):
            client.insist(lambda job=job, op=op: _looked(client, http, job, op))  # type: ignore[misc]
        listed = client.insist(lambda: http.get("/api/v1/jobs", params={"limit": "1000", "kind": "all"}))
        for found in listed.json()["data"] if listed is not None and listed.status_code == 200 else ():
            if found["id"] not in client.known and found["label"].startswith(f"job-{client.order.seed}-"):
                client.log.write(Completed(found["label"], found["id"], found["state"], _mark(found), "listed only"))


def _looked(client: Client, http: httpx.Client, job: str, op: str) -> httpx.Response:
    if _look(client, http, job, op):
        _prove(client, http, job, op)
        _prove_answer(client, http, job, op)
    return httpx.Response(200)


def _prove_answer(client: Client, http: httpx.Client, job: str, op: str) -> None:
    """What a model's job kept has to be the whole answer."""
    order, kind = client.order, client.order.kinds[int(op.rsplit("-", 1)[1]) % len(client.order.kinds)]
    if kind == "python":
        return
    kept = http.get(f"/api/v1/jobs/{job}/result")
    if kept.status_code != 200:
        return
    choice = kept.json()["choices"][0]
    found = choice["message"]["content"] if kind == "chat" else choice["text"]
    wanted = " ".join(itertools.islice(itertools.cycle((op, "says", "this")), order.answer_words))
    if found != wanted:
        client.log.write(Completed(op, job, "wrong", f"wrong {found}", f"{found} instead of {wanted}"))


def _prove(client: Client, http: httpx.Client, job: str, op: str) -> None:
    """The output file that was kept has to be that of the run whose output came last: the accepted one.

    A killed coordinator may lose lines of logs (docs/reliability.md); where all are gone there is nothing to compare.
    """
    kept = http.get(f"/api/v1/jobs/{job}/files/proof.txt")
    if kept.status_code != 200:
        return
    said = b""
    for line in http.get(f"/api/v1/jobs/{job}/logs", params={"follow": "false"}).text.splitlines():
        piece = json.loads(line[5:]) if line.startswith("data:") else {}
        if piece.get("stream") == "stdout":
            said += base64.b64decode(piece["data"])
    if said and said.split()[-1:] != [kept.content]:
        client.log.write(Completed(op, job, "done", f"proof {kept.text} of a run that is not the last of {said!r}"))


def read_streams(client: Client) -> None:
    order = client.order
    with client.http() as http:
        while not client.ending.is_set():
            number = next(client.stream_numbers)
            if order.stream_count and number >= order.stream_count:
                return
            client.log.write(read_stream(http, order, f"stream-{order.seed}-{number}"))


def read_stream(http: httpx.Client, order: Order, op: str) -> Streamed:
    """One answer whose every word is known and different, so that none can be missing, twice or elsewhere; every other
    one a chat, the rest completions."""
    expected = " ".join(f"{op}.{word}" for word in range(order.stream_words))
    said = f"#echo delay_ms={order.stream_delay_ms}\n{expected}"
    chat = int(op.rsplit("-", 1)[1]) % 2 == 0
    body = {
        "model": order.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": order.stream_words + 1,
        **({"messages": [{"role": "user", "content": said}]} if chat else {"prompt": said}),
    }
    text, usage, times, why = "", 0, [time.monotonic()], "the stream broke off"
    try:
        with http.stream("POST", "/v1/chat/completions" if chat else "/v1/completions", json=body) as response:
            if response.status_code != 200:
                why = f"{response.status_code}: {response.read()[:200].decode(errors='replace')}"
                time.sleep(0.2)
            for line in response.iter_lines() if response.status_code == 200 else ():
                if not line.startswith("data:"):
                    continue
                if line == "data: [DONE]":
                    why = ""
                    break
                chunk = json.loads(line[5:])
                if "error" in chunk:
                    why = f"error event: {chunk['error']['message'][:200]}"
                    break
                usage = (chunk.get("usage") or {}).get("completion_tokens", usage)
                piece = "".join(
                    choice["delta"].get("content") or "" if chat else choice["text"] for choice in chunk["choices"]
                )
                if piece:
                    text += piece
                    times.append(time.monotonic())
    except httpx.HTTPError as error:
        why = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    if not why and text != expected:
        at = next(
            (at for at, pair in enumerate(zip(text, expected, strict=False)) if pair[0] != pair[1]), len(expected)
        )
        why = f"{len(text)} characters instead of {len(expected)}, from {at} on …{text[max(0, at - 40) : at + 60]!r}"
    if not why and usage != order.stream_words:
        why = f"usage counts {usage} tokens of {order.stream_words}"
    pauses = [after - before for before, after in itertools.pairwise(times[1:])]
    return Streamed(
        op,
        ok=not why,
        seconds=time.monotonic() - times[0],
        first_s=times[1] - times[0] if len(times) > 1 else -1.0,
        pause_s=max(pauses, default=0.0),
        why=why,
        at=time.time(),
    )


def main() -> int:
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Order)
    client = Client(order)
    threads = [threading.Thread(target=watch_jobs, args=(client,))]
    for number in range(order.submitters):
        luck = random.Random(order.seed * 1000 + number)
        threads.append(threading.Thread(target=submit_jobs, args=(client, luck), daemon=True))
    threads += [threading.Thread(target=read_streams, args=(client,), daemon=True) for _ in range(order.streams)]
    for thread in threads:
        thread.start()
    patience = float(sys.stdin.readline() or "0")
    client.deadline = time.monotonic() + patience
    client.ending.set()
    for thread in threads[1:]:
        thread.join(patience + 30)
    threads[0].join(patience + 30)
    client.deadline = time.monotonic() + 30
    read_back(client)
    client.log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
