"""A worker's and a coordinator's session wired together without a network: virtual time, bytes cut anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.ids import WorkerId
from gogrid.protocol.auth import Binding
from gogrid.protocol.coordinator_session import CoordinatorEvent, CoordinatorSession
from gogrid.protocol.entrance import Authenticated, JoinDoubted, JoinProved
from gogrid.protocol.messages import Heartbeat, HeartbeatAck, Welcome
from gogrid.protocol.session import Close, Nudge, Output, Send
from gogrid.protocol.worker_session import HeartbeatDue, KeyProof, TokenProof, WorkerEvent, WorkerSession

WORKER_KEY = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
TOKEN_KEY = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
WORKER_ID = WorkerId("wk_1")
TOKEN_ID = "00112233aabbccdd"
PIN = b"p" * 32
BINDING = Binding(PIN, b"s" * 32)
KEY_PROOF = KeyProof(WORKER_ID, WORKER_KEY)
TOKEN_PROOF = TokenProof(TOKEN_ID, TOKEN_KEY, WORKER_KEY, "box")
WELCOME = Welcome(
    worker_id=WORKER_ID,
    worker_name="box",
    session_epoch=1,
    heartbeat_s=10.0,
    lease_s=30.0,
    fence_s=24.0,
    ping_s=5.0,
    ping_timeout_s=3.0,
    ticket="t",
    https_port=8443,
)


class Keys:
    """Implements `KeyLookup` for one worker and one token."""

    def worker_key(self, worker_id: WorkerId) -> bytes | None:
        return WORKER_KEY.public_key().public_bytes_raw() if worker_id == WORKER_ID else None

    def token_key(self, token_id: str) -> bytes | None:
        return TOKEN_KEY.public_key().public_bytes_raw() if token_id == TOKEN_ID else None


@dataclass
class Pair:
    """`run` carries everything to and fro; `pass_time` does so at every deadline on the way."""

    proof: KeyProof | TokenProof = KEY_PROOF
    worker_binding: Binding = BINDING
    coordinator_binding: Binding = BINDING
    cut: Callable[[bytes], list[bytes]] = lambda data: [data]
    coordinator_deaf: bool = False
    acknowledge: bool = True
    now: float = 100.0
    worker_events: list[WorkerEvent] = field(default_factory=list)
    coordinator_events: list[CoordinatorEvent] = field(default_factory=list)
    to_coordinator: list[Output] = field(default_factory=list)
    to_worker: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = WorkerSession(self.proof, self.worker_binding, b"n" * 32, "test/1")
        self.coordinator = CoordinatorSession("grid", Keys(), self.coordinator_binding, b"c" * 32, self.now)

    def open(self) -> Pair:
        """Up to an open session, or its refusal."""
        self.worker.start(self.now)
        self.run()
        return self

    def run(self) -> None:
        while self._to_coordinator() | self._to_worker():
            pass

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.run()
            awake = (self.worker,) if self.coordinator_deaf else (self.worker, self.coordinator)
            deadlines = [at for at in (session.next_deadline() for session in awake) if at is not None]
            if not deadlines or min(deadlines) > end:
                self.now = end
                return
            self.now = max(self.now, min(deadlines))
            self._on_worker(self.worker.on_deadline(self.now))
            if not self.coordinator_deaf:
                self._on_coordinator(self.coordinator.on_deadline(self.now))

    def _to_coordinator(self) -> bool:
        outputs = self.worker.take_outputs(self.now)
        self.to_coordinator += outputs
        for output in outputs:
            if isinstance(output, Send) and not self.coordinator_deaf:
                pieces = self.cut(output.data) or [b""]
                for number, piece in enumerate(pieces):
                    end = output.end and number == len(pieces) - 1
                    self._on_coordinator(
                        self.coordinator.receive(output.stream_id, piece, end, self.now, 1_700_000_000.0)
                    )
            elif isinstance(output, Nudge) and not self.coordinator_deaf:
                self._on_coordinator(self.coordinator.heard(self.now))
            elif isinstance(output, Close) and not self.coordinator_deaf:
                self._on_coordinator(self.coordinator.connection_lost(output.code, output.reason))
        return bool(outputs)

    def _to_worker(self) -> bool:
        outputs = self.coordinator.take_outputs()
        self.to_worker += outputs
        for output in outputs:
            if isinstance(output, Send):
                for piece in self.cut(output.data):
                    self._on_worker(self.worker.receive(output.stream_id, piece, output.end, self.now))
            elif isinstance(output, Nudge):
                self.worker.heard(self.now)
                if not self.coordinator_deaf:
                    self._on_coordinator(self.coordinator.heard(self.now))
            elif isinstance(output, Close):
                self._on_worker(self.worker.connection_lost(output.code, output.reason))
        return bool(outputs)

    def _on_worker(self, events: list[WorkerEvent]) -> None:
        self.worker_events += events
        if any(isinstance(event, HeartbeatDue) for event in events):
            self.worker.heartbeat((), self.now)

    def _on_coordinator(self, events: list[CoordinatorEvent]) -> None:
        self.coordinator_events += events
        for event in events:
            match event:
                case Authenticated():
                    self.coordinator.admit(WELCOME, self.now)
                case JoinDoubted():
                    self._on_coordinator(self.coordinator.judge_again())
                case JoinProved():
                    self.coordinator_events += self.coordinator.joined(WELCOME, pending=False)
                case Heartbeat() if self.acknowledge:
                    self.coordinator.send(HeartbeatAck(seq=event.seq), self.now)
