"""One key, one model, one worker's report and what workers say, for tests of answers."""

from coordinator.records import KeyRecord, ModelKind, ModelRecord, Scope
from gogrid.ids import KeyId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, TextDone, Tokens
from gogrid.protocol.tasks import (
    ChatMessage,
    ChatTask,
    ModelRef,
    Sampling,
)
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, WorkerReport

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 64, 0, 0.0)
REF = ModelRef(name="m", digest=MODEL.digest)
CHAT = ChatTask(model=REF, messages=(ChatMessage(role="user", content="hi"),), sampling=Sampling())
REPORT = WorkerReport(
    software="t",
    hostname="h",
    platform="p",
    readiness=Readiness.READY,
    reason="ready",
    devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1 << 40, cap_bytes=1 << 40, why=""),),
    engines=("echo",),
    sandbox="s",
    python_jobs=True,
    cores=4,
)
YIELD = Failed(code=FailCode.YIELDED, message="The worker is paused by its owner.")
CRASH = Failed(code=FailCode.CRASHED, message="The engine died.")
IN_COMPANY = Failed(code=FailCode.CRASHED, message="The engine died.", in_company=True)


def said(*ids: int) -> Tokens:
    return Tokens(seq=0, text="".join(f" {number}" for number in ids), token_ids=ids)


def done(count: int) -> Finished:
    return Finished(result=TextDone(finish_reason="stop", prompt_tokens=3, completion_tokens=count))
