"""What a worker that is well says of itself; a test replaces what it is about."""

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import WorkerStatus

READY = WorkerStatus(
    software="gogrid/0.1.0",
    worker="den-pc",
    readiness=Readiness.READY,
    reason="ready",
    coordinator="hub:8443",
    connected=True,
    connection="connected to hub:8443 as den-pc",
    device="CPU",
    devices=(),
    sandbox="bubblewrap",
    python_jobs=True,
    jobs=(),
    models=(),
    jobs_done=0,
    jobs_failed=0,
    pid=1,
)
