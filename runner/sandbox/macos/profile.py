"""The profile that `sandbox-exec` is given: read, held against the policy, and only then used.

Promises: `faults` finds every rule that opens more than `sandbox_profiles/macos.py` lists, in words; `profile_text` is
exactly the text that was checked, and raises rather than give one with a fault. What it cannot see is whether the
kernel enforces the rules; the self-test does that.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files

import sandbox_profiles
from runner.errors import SandboxUnavailableError
from sandbox_profiles import macos
from sandbox_profiles.sbpl import Form, Pattern, ProfileError, Rule, Symbol, Text, parse

_NULL_DEVICE = (
    Symbol("require-all"),
    (Symbol("literal"), Text("/dev/null")),
    (Symbol("vnode-type"), Symbol("CHARACTER-DEVICE")),
)
_OWN_SANDBOX = ((Symbol("target"), Symbol("same-sandbox")),)
_OPENMP = ((Symbol("ipc-posix-name-regex"), Pattern("^/__KMP_REGISTERED_LIB_[0-9]+$")),)
_SHADER_SOURCE = (
    (
        Symbol("require-all"),
        (Symbol("extension-class"), Text("com.apple.app-sandbox.read")),
        (Symbol("subpath"), (Symbol("param"), Text("TMP"))),
    ),
)


def profile_text(*, gpu: bool) -> str:
    """The rules, comments and all. Raises `SandboxUnavailableError` if the installed profile is not as it must be."""
    base, extra = _read(macos.PROFILE), _read(macos.GPU_PROFILE)
    try:
        found = [*faults(parse(base)), *gpu_faults(parse(extra))]
    except ProfileError as error:
        found = [str(error)]
    if found:
        raise SandboxUnavailableError(f"The macOS sandbox profile is damaged; install GoGrid again. {found[0]}")
    return f"{base}\n{extra}" if gpu else base


def faults(rules: Iterable[Rule]) -> tuple[str, ...]:
    """What is wrong with the rules of `gogrid.sb`; empty: nothing."""
    rules = tuple(rules)
    heads = tuple(rule.form for rule in rules[:2])
    wanted = ((Symbol("version"), Symbol("1")), (Symbol("deny"), Symbol("default")))
    first = () if heads == wanted else ("The profile must begin with (version 1) and (deny default).",)
    return (*first, *(fault for rule in rules[2:] for fault in _rule_faults(rule, gpu=False)))


def gpu_faults(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The same for `gogrid_gpu.sb`, which is added behind the other."""
    return tuple(fault for rule in rules for fault in _rule_faults(rule, gpu=True))


def _read(name: str) -> str:
    try:
        return (files(sandbox_profiles) / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxUnavailableError(f"The macOS sandbox profile {name} cannot be read: {error}.") from error


def _rule_faults(rule: Rule, *, gpu: bool) -> Iterator[str]:
    where = f"Line {rule.line}:"
    if not rule.form or rule.form[0] != Symbol("allow"):
        yield f"{where} only (allow …) may stand here."
        return
    if not rule.reason:
        yield f"{where} the rule has no comment right above that says why."
    operations = [part for part in rule.form[1:] if isinstance(part, Symbol)]
    filters = tuple(part for part in rule.form[1:] if not isinstance(part, Symbol))
    if not operations or rule.form[1 : 1 + len(operations)] != tuple(operations):
        yield f"{where} operations come first, filters behind them."
    known = macos.GPU_OPERATIONS if gpu else macos.OPERATIONS
    for operation in operations:
        if operation not in known:
            yield f"{where} {operation} may not be allowed{'' if gpu else ' without a granted GPU'}."
        elif not filters and operation not in macos.UNFILTERED:
            yield f"{where} {operation} must say to what it applies."
        elif filters and not _filters_fit(operation, filters, gpu=gpu):
            yield f"{where} {operation} is opened wider than the policy says."


def _filters_fit(operation: str, filters: tuple[Form, ...], *, gpu: bool) -> bool:
    match operation:
        case "process-exec":
            return all(_parameter(part) == "RT" for part in filters)
        case "signal" | "process-info*":
            return filters == _OWN_SANDBOX
        case "file-write*":
            return all(_parameter(part) in macos.WRITABLE_PARAMETERS for part in filters)
        case "file-write-data":
            return filters == (_NULL_DEVICE,)
        case "file-read*":
            return all(_may_read(part, gpu=gpu) for part in filters)
        case "file-map-executable":
            return all(_parameter(part) in ("RT", "SITE") or _folder(part, gpu=gpu) for part in filters)
        case "mach-lookup":
            services = macos.GPU_SERVICES if gpu else macos.SERVICES
            return all(_named(part, ("global-name", "xpc-service-name")) in services for part in filters)
        case "iokit-open":
            return all(_named(part, ("iokit-user-client-class",)) in macos.GPU_CLASSES for part in filters)
        case "file-issue-extension":
            return filters == _SHADER_SOURCE
        case _:
            return operation.startswith("ipc-posix-shm-") and filters == _OPENMP


def _may_read(part: Form, *, gpu: bool) -> bool:
    parameter = _parameter(part)
    return parameter in macos.PARAMETERS or _folder(part, gpu=gpu) or _named(part, ("literal",)) in macos.SYSTEM_FILES


def _folder(part: Form, *, gpu: bool) -> bool:
    return _named(part, ("subpath",)) in (macos.GPU_FOLDERS if gpu else macos.SYSTEM_FOLDERS)


def _parameter(part: Form) -> str:
    """`RT` of `(subpath (param "RT"))`; empty: it is something else."""
    match part:
        case (Symbol("subpath"), (Symbol("param"), Text() as name)):
            return str(name)
    return ""


def _named(part: Form, filters: tuple[str, ...]) -> str:
    """The text of `(filter "text")`; empty: it is something else."""
    match part:
        case (Symbol() as name, Text() as text) if str(name) in filters:
            return str(text)
    return ""
