"""No-op jobs through Celery and Redis. Runs in the peers' own environment and imports nothing of ours.

`python peers_celery.py REDIS_URL POOL BULK CLIENTS EACH SINGLE`: prints one JSON object with jobs per second and the
median latency. `acks_late` and a result backend, as whoever must lose nothing would run it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from statistics import median

from celery import Celery

URL = os.environ.get("PEER_REDIS_URL", "")
app = Celery("peers_celery", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=False,
    worker_prefetch_multiplier=32,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    redis_max_connections=200,
    broker_pool_limit=64,
)


@app.task(name="noop")
def noop(number: int) -> int:
    return number


def bulk(count: int) -> float:
    began = time.perf_counter()
    results = [noop.delay(number) for number in range(count)]
    for result in results:
        result.get(timeout=120)
    return count / (time.perf_counter() - began)


def by_clients(clients: int, each: int) -> float:
    def client() -> None:
        for number in range(each):
            noop.delay(number).get(timeout=120)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * each / (time.perf_counter() - began)


def single(count: int) -> float:
    took = []
    for number in range(count):
        began = time.perf_counter()
        noop.delay(number).get(timeout=120)
        took.append(time.perf_counter() - began)
    return median(took) * 1000


def main() -> None:
    url, pool, *numbers = sys.argv[1:]
    bulk_jobs, clients, each, singles = map(int, numbers)
    app.conf.update(broker_url=url, result_backend=url)
    folder = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "--workdir", folder, "-A", "peers_celery", "worker"),
            *("--pool", pool, "--concurrency", "2", "--loglevel", "error"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        env={**os.environ, "PEER_REDIS_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        noop.delay(0).get(timeout=60)
        bulk(200)
        answer = {
            "bulk_per_s": bulk(bulk_jobs),
            "clients_per_s": by_clients(clients, each),
            "single_ms": single(singles),
        }
    finally:
        worker.terminate()
        worker.wait(30)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
