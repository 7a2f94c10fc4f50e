"""Which worker may take which job, and which had better: the rules, each a pure function with its reason.

Nothing here gives a worker more than it said it can hold: model memory under the owner's cap, engine slots, script
memory and cores, streams per connection. Among the workers that can take a job now the cheapest is taken: the model
loaded > cached > to be downloaded, then a GPU over a CPU, then the smaller share of busy slots, then the faster one as
far as its owner had it measured, then a steady order by id. A rule that says no says why in words, which the API shows.

The rules depend on their arguments alone: `fleet.py` keeps what they said until one of these has changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.worker_report import DeviceKind, LoadedModel
from gogrid.sizes import format_size

NOBODY = KeyId("")
STREAMS_PER_WORKER = 32
"""Job streams one connection may have open; the runner enforces the same."""
SLOTS_BEFORE_LOADING = 8
"""How many requests may wait at a worker for one model that it has yet to load and has not told its slots."""
GPU = "gpu"
"""What a Python job that asks for the GPU has for an engine."""
_NAMED = 3
"""So many workers are named where none lends enough."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks of a worker, and by what it has its place among the others."""

    job_id: JobId
    model: Sha256 | None
    """None: a Python job."""
    engine: str
    """Of a model; `GPU` or nothing for a Python job."""
    memory_bytes: int
    """Of the model's device for requests, of RAM for Python jobs."""
    cores: float = 0.0
    """Of a Python job."""
    avoid: frozenset[WorkerId] = frozenset()
    """Workers that already failed it; used only if there is no other."""
    owner: KeyId = NOBODY
    """Who submitted it: capacity is shared out between owners."""
    priority: int = 0
    """-100..100, higher first."""
    interactive: bool = False
    """Somebody waits for it at this moment: before all durable jobs."""
    length_bytes: int = 0
    """Of a request's memory, what its own length adds to the model's."""
    not_before: float = 0.0
    """Not placed earlier than this, on the scheduler's clock."""
    refusal: str = ""
    """Why the worker that had it last would not take it, in words."""


Kind = tuple[Sha256 | None, str, int, float]
"""What a job asks of a worker, without whose it is: model, engine, memory, cores."""
Cost = tuple[int, int, float, float, float, WorkerId]


def wants_gpu(kind: Kind) -> bool:
    """Whether this is a Python job that asks for the GPU."""
    return kind[0] is None and kind[1] == GPU


def kind_of(need: Need) -> Kind:
    return (need.model, need.engine, need.memory_bytes, need.cores)


class Held(msgspec.Struct, frozen=True):
    """What leases of one kind take on a worker: those of one model, or all its Python jobs."""

    count: int
    memory_bytes: int
    """One executor's for a model; the sum for Python jobs."""
    cores: float = 0.0
    """The sum of Python jobs."""
    gpu: bool = False
    """One of the Python jobs has the GPU."""


NOTHING_HELD = Held(0, 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One connected worker as the planner sees it."""

    worker_id: WorkerId
    name: str
    barred: str
    """In words: why it may take nothing until its owner or the admin changes something; empty: it may."""
    stands_back: bool
    """What bars it is its owner's pause or a gate, which may end at any moment."""
    known: bool
    """False between connecting and the first report."""
    silent: bool
    """It misses pings: nothing new, but it may come back any moment."""
    engines: frozenset[str]
    python_jobs: bool
    device: DeviceKind
    cap_bytes: int
    """What models may use on `device` together."""
    ram_bytes: int
    """What Python jobs may use together."""
    cores: int
    loaded: Mapping[Sha256, LoadedModel]
    cached: frozenset[Sha256]
    refused: Mapping[Sha256, str] = field(default_factory=dict)
    """Models that it does not serve for a while, and why."""
    gpu_scripts: bool = False
    """Its owner lends the GPU to scripts."""
    tokens_per_s: float = 0.0
    """As it was measured, with the same model on every worker; 0: not yet."""
    shares_memory: bool = False
    """Its models and scripts draw on the same memory."""
    loading: Mapping[Sha256, int] = field(default_factory=dict)
    """Bytes that models on their way hold already."""


@dataclass(frozen=True, slots=True)
class Decision:
    job_id: JobId
    worker_id: WorkerId | None
    """None: it waits."""
    hopeless: bool
    """No connected worker could take it even when idle, nor when its owner lets it work again."""
    reasons: tuple[str, ...]
    """Why each worker that was passed over was: `name: reason`."""


class Excess(Enum):
    """What of a request or job is too large for every worker."""

    SCRIPT = "limits_too_large"
    GPU = "no_gpu_for_scripts"
    MODEL = "model_too_large"
    LENGTH = "context_length_exceeded"


@dataclass(frozen=True, slots=True)
class Oversized:
    excess: Excess
    reason: str
    """One sentence with the numbers."""


def never(need: Need, candidate: Candidate) -> str:
    """Why this worker could not take the job even when idle; empty: it could."""
    if not candidate.known:
        return ""
    return candidate.barred or _unfit(need, candidate)


def may_return(need: Need, candidate: Candidate) -> bool:
    """Whether this worker only stands back for a while, and could take the job otherwise."""
    return candidate.stands_back and not _unfit(need, candidate)


def _unfit(need: Need, candidate: Candidate) -> str:
    if need.model is None:
        if not candidate.python_jobs:
            return "its sandbox is not enough for Python jobs"
        if wants_gpu(kind_of(need)) and not candidate.gpu_scripts:
            return "it lends no GPU to scripts"
        if need.memory_bytes > candidate.ram_bytes:
            return f"the job asks for {format_size(need.memory_bytes)} of {format_size(candidate.ram_bytes)} RAM"
        if need.cores > candidate.cores:
            return f"the job asks for {need.cores:g} cores of {candidate.cores}"
        return ""
    if need.model in candidate.refused:
        return f"it refuses this model for now: {candidate.refused[need.model]}"
    if need.engine not in candidate.engines:
        return f"it has no {need.engine} engine"
    if need.memory_bytes > candidate.cap_bytes:
        return (
            f"the model needs about {format_size(need.memory_bytes)}, its {candidate.device.value} limit is "
            f"{format_size(candidate.cap_bytes)}"
        )
    return ""


def oversized(need: Need, candidates: Iterable[Candidate]) -> Oversized | None:
    """Why no worker lends enough for this, idle and willing or not, connected or away, with the numbers.

    None: one does, or none could run such a thing at all, so that nothing is known.
    """
    able = [candidate for candidate in candidates if candidate.known and _runs(need, candidate)]
    if not able or any(_lends(need, candidate) for candidate in able):
        return None
    return _oversized_script(need, able) if need.model is None else _oversized_request(need, able)


def _oversized_script(need: Need, able: Sequence[Candidate]) -> Oversized:
    if wants_gpu(kind_of(need)):
        able = [candidate for candidate in able if candidate.gpu_scripts]
        if not able:
            return Oversized(Excess.GPU, "no worker's owner lends a GPU to scripts (worker.gpu_scripts): leave it out.")
    largest = sorted(able, key=lambda candidate: (-candidate.ram_bytes, -candidate.cores, candidate.name))[:_NAMED]
    told = ", ".join(f"{one.name} {format_size(one.ram_bytes)} and {_cores(one.cores)}" for one in largest)
    more = f" and {len(able) - _NAMED} more less" if len(able) > _NAMED else ""
    return Oversized(
        Excess.SCRIPT,
        f"The job asks for {format_size(need.memory_bytes)} of memory and {_cores(need.cores)} at once, which no "
        f"worker lends: {told}{more}.",
    )


def _cores(count: float) -> str:
    return "1 core" if count == 1 else f"{count:g} cores"


def _oversized_request(need: Need, able: Sequence[Candidate]) -> Oversized:
    best = max(able, key=lambda candidate: (candidate.cap_bytes, candidate.name))
    lent = f"and the largest worker, {best.name}, lends {format_size(best.cap_bytes)}"
    alone = need.memory_bytes - need.length_bytes
    if alone > best.cap_bytes:
        fix = "raise that worker's limit, or use a smaller model"
        return Oversized(Excess.MODEL, f"This model needs {format_size(alone)} {lent}; {fix}.")
    needs = f"This model needs {format_size(need.memory_bytes)} for a prompt and answer of this length"
    return Oversized(Excess.LENGTH, f"{needs} {lent}; ask for a shorter answer with `max_tokens`.")


def _runs(need: Need, candidate: Candidate) -> bool:
    return candidate.python_jobs if need.model is None else need.engine in candidate.engines


def _lends(need: Need, candidate: Candidate) -> bool:
    if need.model is not None:
        return need.memory_bytes <= candidate.cap_bytes
    if wants_gpu(kind_of(need)) and not candidate.gpu_scripts:
        return False
    return need.memory_bytes <= candidate.ram_bytes and need.cores <= candidate.cores


def not_now(need: Need, candidate: Candidate, held: Mapping[Sha256 | None, Held]) -> str:
    """Why this worker, which could, cannot take the job as long as it holds what it holds; empty: it can."""
    if not candidate.known:
        return "it has just connected"
    if candidate.silent:
        return "it does not answer at the moment"
    if sum(entry.count for entry in held.values()) >= STREAMS_PER_WORKER:
        return "it has as many jobs as a worker may have"
    if need.model is None:
        return _no_room_for_script(need, candidate, held)
    return _no_room_for_model(need, need.model, candidate, held)


def _no_room_for_script(need: Need, candidate: Candidate, held: Mapping[Sha256 | None, Held]) -> str:
    scripts = held.get(None, NOTHING_HELD)
    if wants_gpu(kind_of(need)) and (scripts.gpu or held.keys() - {None}):
        return "its GPU is at work, and a script has it alone"
    if scripts.cores + need.cores > candidate.cores:
        return "all its cores run Python jobs"
    free = candidate.ram_bytes - scripts.memory_bytes - _kept_from_scripts(candidate, held)
    return _short("script", need.memory_bytes, free)


def _no_room_for_model(need: Need, model: Sha256, candidate: Candidate, held: Mapping[Sha256 | None, Held]) -> str:
    scripts = held.get(None, NOTHING_HELD)
    if scripts.gpu:
        return "a script has its GPU"
    if _running(model, held) >= _slots(model, candidate):
        return "all its slots for this model are busy"
    if model in candidate.loaded or model in held:
        return ""
    if candidate.shares_memory and need.memory_bytes > candidate.cap_bytes - scripts.memory_bytes:
        return f"{_short('model', need.memory_bytes, candidate.cap_bytes - scripts.memory_bytes)} beside its scripts"
    busy = sum(entry.memory_bytes for other, entry in held.items() if other is not None)
    if busy + need.memory_bytes > candidate.cap_bytes:
        return "its memory is taken by models that are working"
    return ""


def _kept_from_scripts(candidate: Candidate, held: Mapping[Sha256 | None, Held]) -> int:
    """Bytes that models have and a script cannot get: of those leased, on their way, at work or in their turn.

    The runner judges by the same (`runner/models/residence.py`): what is placed here is not refused there.
    """
    if not candidate.shares_memory:
        return 0
    leased = {model: entry.memory_bytes for model, entry in held.items() if model is not None}
    kept = {
        model: one.memory_bytes
        for model, one in candidate.loaded.items()
        if one.kept or one.running > 0 or model in leased
    }
    coming = leased.keys() | candidate.loading.keys()
    for model in coming - candidate.loaded.keys():
        kept[model] = max(leased.get(model, 0), candidate.loading.get(model, 0))
    return sum(kept.values())


def _short(what: str, needed: int, free: int) -> str:
    """That there is too little memory, in words; empty: there is enough."""
    if needed <= free:
        return ""
    return f"the {what} needs {format_size(needed)} of memory and {format_size(max(0, free))} is free"


def cost(need: Need, candidate: Candidate, held: Mapping[Sha256 | None, Held]) -> Cost:
    """Of giving the job to this worker, which can take it: the smallest is best."""
    if need.model is None:
        scripts = held.get(None, NOTHING_HELD).cores
        return (0, 0, scripts / max(1, candidate.cores), 0.0, -candidate.ram_bytes, candidate.worker_id)
    distance = _distance(need, need.model, candidate)
    slow = 1 if candidate.device is DeviceKind.CPU else 0
    share = _running(need.model, held) / _slots(need.model, candidate)
    return (distance, slow, share, -candidate.tokens_per_s, -candidate.cap_bytes, candidate.worker_id)


def _distance(need: Need, model: Sha256, candidate: Candidate) -> int:
    """How much has to happen before it can serve; a download costs more than another model's place."""
    loaded = candidate.loaded.get(model)
    if loaded is not None:
        return 2 if loaded.giving_way else 0
    used = sum(other.memory_bytes for other in candidate.loaded.values())
    crowded = used + need.memory_bytes > candidate.cap_bytes
    return (1 if model in candidate.cached else 3) + crowded


def _running(model: Sha256, held: Mapping[Sha256 | None, Held]) -> int:
    return held[model].count if model in held else 0


def _slots(model: Sha256, candidate: Candidate) -> int:
    loaded = candidate.loaded.get(model)
    if loaded is None:
        return SLOTS_BEFORE_LOADING
    return max(1, min(loaded.slots, SLOTS_BEFORE_LOADING) if loaded.giving_way else loaded.slots)


def with_one_more(held: Held, need: Need) -> Held:
    """What is held when this need is, too."""
    memory = held.memory_bytes + need.memory_bytes if need.model is None else need.memory_bytes
    return Held(held.count + 1, memory, held.cores + need.cores, held.gpu or wants_gpu(kind_of(need)))
