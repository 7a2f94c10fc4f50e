"""`doctor`: what works on this machine and what does not, each in one line.

Proves instead of guessing: the sandbox runs its self-test, the coordinator is reached over UDP and over TCP apart, so
that a firewall that eats one of them is told from a coordinator that is down. Never authenticates, since that would end
the session of a running worker.
"""

import asyncio
import shutil
import time
from email.utils import parsedate_to_datetime

import msgspec

from gogrid.errors import CloseCode, GoGridError
from gogrid.identity import client_context, create_worker_key, short_pin
from gogrid.places import WorkerPlaces
from gogrid.protocol.worker_session import KeyProof
from gogrid.sizes import format_size
from runner.app import addresses_of
from runner.config import WorkerConfig
from runner.errors import SandboxUnavailableError
from runner.link.connection import dial
from runner.link.membership import Membership, load_membership
from runner.probes.all import Machine, probe_machine
from runner.probes.choose import choose_device
from runner.sandbox.base import SandboxReport
from runner.sandbox.choose import choose_launcher
from runner.threads import in_thread

_HTTPS_TIMEOUT_S = 5.0
_CLOCK_TOLERANCE_S = 60.0
_LEAST_DISK = 2 * 10**9


class Check(msgspec.Struct, frozen=True):
    name: str
    ok: bool
    finding: str


async def examine(config: WorkerConfig, places: WorkerPlaces) -> tuple[Check, ...]:
    """Every check, in the order in which they build on each other."""
    checks = [Check("settings", True, f"{places.config}{'' if places.config.exists() else ' (absent: defaults)'}")]
    machine = probe_machine()
    sandbox, found = await _sandbox(machine)
    checks += found
    checks.append(_device(config, machine, sandbox))
    checks.append(_disk(config, places))
    try:
        membership = load_membership(places.state)
    except GoGridError as error:
        return (*checks, Check("coordinator", False, str(error)))
    if membership is None:
        return (*checks, Check("coordinator", False, "not joined; paste a token: gogrid-worker join TOKEN"))
    pin = short_pin(membership.pin)
    checks.append(Check("coordinator", True, f"{membership.coordinator_name}, pin {pin}, as {membership.worker_name}"))
    udp, tcp = await asyncio.gather(_quic(config, membership), _https(config, membership))
    return (*checks, udp, *tcp)


def findings_text(checks: tuple[Check, ...]) -> str:
    width = max(len(check.name) for check in checks)
    return "\n".join(f"{'ok   ' if check.ok else 'WRONG'}  {check.name:{width}}  {check.finding}" for check in checks)


async def _sandbox(machine: Machine) -> tuple[SandboxReport | None, list[Check]]:
    try:
        report = (await choose_launcher(gpus=machine.nvidia)).report
    except SandboxUnavailableError as error:
        return None, [Check("sandbox", False, str(error))]
    found = [Check("sandbox", True, f"{report.name}; proved: {', '.join(report.layers)}")]
    if report.missing:
        found.append(Check("sandbox limits", report.python_jobs, f"cannot enforce: {', '.join(report.missing)}"))
    found += [Check("sandbox skipped", True, reason) for reason in report.skipped]
    return report, found


def _device(config: WorkerConfig, machine: Machine, sandbox: SandboxReport | None) -> Check:
    chosen = choose_device(
        config.device,
        machine.cpu,
        machine.findings,
        machine.engine,
        config.max_vram,
        config.max_ram,
        sandbox.gpus if sandbox is not None else None,
    )
    if chosen.problem:
        return Check("device", False, chosen.problem)
    if not machine.engine.torch:
        return Check("device", False, f"{chosen.why}; {machine.engine.problem}: pip install 'gogrid[engine]'")
    return Check("device", True, f"{chosen.why}; lends {format_size(chosen.cap_bytes)}")


def _disk(config: WorkerConfig, places: WorkerPlaces) -> Check:
    folder = next(path for path in (places.models, *places.models.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    words = f"{format_size(free)} free in {folder}; the model cache may hold {format_size(config.disk_cap)}"
    return Check("disk", free >= _LEAST_DISK, words)


async def _quic(config: WorkerConfig, membership: Membership) -> Check:
    """Up to the checked pin, and no further."""
    proof = KeyProof(membership.worker_id, create_worker_key())
    failures: list[str] = []
    for address in addresses_of(config, membership):
        try:
            connection = await dial(address, membership.pin, proof, lambda _event: None)
        except GoGridError as error:
            failures.append(str(error))
            continue
        connection.close(CloseCode.NORMAL, "doctor")
        await connection.dispose()
        return Check("UDP (QUIC)", True, f"{address} answers, and is the pinned coordinator")
    return Check("UDP (QUIC)", False, "; ".join(failures))


async def _https(config: WorkerConfig, membership: Membership) -> list[Check]:
    import httpx

    address = addresses_of(config, membership)[0]
    host = f"[{address.host}]" if ":" in address.host else address.host
    url = f"https://{host}:{membership.https_port}/healthz"
    trust = client_context(membership.identity_pem)

    def get() -> tuple[httpx.Response, float]:
        response = httpx.get(url, verify=trust, timeout=_HTTPS_TIMEOUT_S, trust_env=False)
        return response, time.time()

    try:
        response, here = await in_thread(lambda _stop: get(), "https check")
    except httpx.HTTPError as error:
        return [Check("TCP (HTTPS)", False, f"{url}: {error}")]
    found = [Check("TCP (HTTPS)", response.is_success, f"{url} answers {response.status_code}")]
    there = response.headers.get("date", "")
    if there:
        apart = here - parsedate_to_datetime(there).timestamp()
        words = f"{abs(apart):.0f} s {'ahead of' if apart >= 0 else 'behind'} the coordinator's"
        found.append(Check("clock", abs(apart) <= _CLOCK_TOLERANCE_S, words))
    return found
