"""A whole grid for hostile scripts: real programs, the real job API, a real worker in its real sandbox."""

import subprocess
import sysconfig
import textwrap
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gogrid.client.answers import Job, Limits, LogPiece
from gogrid.client.client import GoGrid
from gogrid.client.local_grid import LocalGrid
from gogrid.client.profile import Profile


@dataclass(frozen=True)
class Told:
    """How a job ended, and all it said."""

    job: Job
    stdout: str
    stderr: str
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """What the API calls the end, such as `ok` or `timeout`; of a job without a result: what went wrong."""
        return self.job.result.word if self.job.result else f"{self.job.state}: {self.job.error}"


@dataclass(frozen=True)
class HostileGrid:
    local: LocalGrid

    def submit(
        self,
        code: str,
        *,
        arguments: tuple[str, ...] = (),
        limits: Limits = Limits(wall_s=30.0),  # noqa: B008 - frozen
        inputs: Mapping[str, bytes] | None = None,
        key: str | None = None,
    ) -> str:
        """Hand in a script, with the admin's key by default; its id."""
        files = {"main.py": textwrap.dedent(code).encode(), **(inputs or {})}
        known = Profile(self.local.endpoint.url, key or self.local.admin_key, self.local.certificate.read_text())
        with GoGrid(known) as client:
            return client.submit_python(files, "main.py", arguments=arguments, limits=limits).id

    def make_key(self, name: str) -> str:
        """Another tenant's."""
        program = Path(sysconfig.get_path("scripts")) / "gogrid-coordinator"
        command = [program, "key", "create", "--name", name, "--json", "--data", str(self.local.data)]
        key: str = msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)["key"]
        return key

    def see(self, job_id: str) -> Told:
        """Wait for a job's end."""
        said = {"stdout": b"", "stderr": b""}
        with self.local.client() as client:
            for piece in client.logs(job_id):
                if isinstance(piece, LogPiece):
                    said[piece.stream] += piece.data
                else:
                    ended = piece
            kept = ended.result.files if ended.result else ()
            files = {file.name: b"".join(client.output(job_id, file)) for file in kept}
        return Told(ended, said["stdout"].decode(errors="replace"), said["stderr"].decode(errors="replace"), files)

    def run(
        self,
        code: str,
        *,
        arguments: tuple[str, ...] = (),
        limits: Limits = Limits(wall_s=30.0),  # noqa: B008 - frozen
        inputs: Mapping[str, bytes] | None = None,
        key: str | None = None,
    ) -> Told:
        return self.see(self.submit(code, arguments=arguments, limits=limits, inputs=inputs, key=key))

    def wait_for_output(self, job_id: str, text: str) -> None:
        """Until a job has written `text`."""
        with self.local.client() as client:
            seen = b""
            for piece in client.logs(job_id):
                if not isinstance(piece, LogPiece):
                    raise AssertionError(
                        f"the job ended before it said {text!r}: {piece.result} {piece.error} {seen!r}"
                    )
                seen += piece.data
                if text.encode() in seen:
                    return

    def wait_until_ready(self, within_s: float = 30.0) -> None:
        """Until every worker may be given work."""
        deadline = time.monotonic() + within_s
        with self.local.client() as client:
            while not all(worker.connected and worker.readiness == "ready" for worker in client.workers()):
                assert time.monotonic() < deadline, client.workers()
                time.sleep(0.05)

    def lines(self, told: Told) -> dict[str, str]:
        """What a job of probes printed: one JSON pair of row and outcome on each line."""
        pairs = (msgspec.json.decode(line, type=tuple[str, str]) for line in told.stdout.splitlines())
        return dict(pairs)


@contextmanager
def hostile_grid(folder: Path, settings: Mapping[str, str] | None = None) -> Generator[HostileGrid, None, None]:
    """A coordinator and one worker, both with their defaults but for `settings`."""
    with LocalGrid(folder, settings) as local:
        local.init()
        local.add_model("echo")
        local.start_coordinator()
        local.start_worker()
        yield HostileGrid(local)
