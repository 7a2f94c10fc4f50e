"""A small assembler for classic BPF, and the seccomp program it makes of `sandbox_profiles.seccomp`.

The program: kill on a foreign ABI, refuse what the policy refuses, allow the rest. Calls that are always allowed cost
nothing at run time, because the kernel finds out once that their answer does not depend on arguments.
"""

import struct
from dataclasses import dataclass

from sandbox_profiles import seccomp
from sandbox_profiles.syscalls import NUMBERS

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor the filter is made for."""

    name: str
    """As `platform.machine()` says it."""
    audit_arch: int
    column: int
    """Its place in `NUMBERS`."""
    has_x32: bool


MACHINES = (
    Machine("x86_64", 0xC000003E, 0, has_x32=True),
    Machine("aarch64", 0xC00000B7, 1, has_x32=False),
)


def program(machine: Machine) -> bytes:
    """The filter for one processor, as the kernel and bubblewrap read it: 8 bytes for each instruction."""
    code = [
        _statement(_LOAD, _ARCH_AT),
        _jump(_JUMP_EQ, machine.audit_arch, 1, 0),
        _statement(_RETURN, _KILL),
        _statement(_LOAD, _NUMBER_AT),
    ]
    if machine.has_x32:
        code += [_jump(_JUMP_GE, _X32_BIT, 0, 1), _statement(_RETURN, _KILL)]
    for group in seccomp.REFUSED:
        for call in group.calls:
            code += _for_call(machine, call, [_refuse(group.refusal)])
    for call, body in _judged_by_arguments():
        code += _for_call(machine, call, body)
    code.append(_statement(_RETURN, _ALLOW))
    return b"".join(code)


def _judged_by_arguments() -> list[tuple[str, list[bytes]]]:
    """Calls with a body of their own; each body ends in a return."""
    eperm, no_family = _refuse(seccomp.Refusal.EPERM), _refuse(seccomp.Refusal.EAFNOSUPPORT)
    allow = _statement(_RETURN, _ALLOW)
    clone = [_load_argument(0), _jump(_JUMP_SET, seccomp.CLONE_NEW_FLAGS, 0, 1), eperm, allow]
    ioctl = [_load_argument(1), *_if_any(seccomp.REFUSED_IOCTLS, eperm), allow]
    fcntl = [_load_argument(1), *_if_any(seccomp.REFUSED_FCNTLS, eperm), allow]
    prlimit = [_load_argument(0), *_if_any((seccomp.OWN_PROCESS,), allow), eperm]
    personality = [_load_argument(0), *_if_any(seccomp.PERSONALITIES, allow), eperm]
    socket = [
        _load_argument(0),
        *_if_any(seccomp.OPEN_FAMILIES, allow),
        _jump(_JUMP_EQ, seccomp.NETLINK_FAMILY, 1, 0),
        no_family,
        _load_argument(2),
        *_if_any((0,), allow),
        no_family,
    ]
    return [
        ("clone", clone),
        ("fcntl", fcntl),
        ("ioctl", ioctl),
        ("personality", personality),
        ("prlimit64", prlimit),
        ("socket", socket),
        ("socketpair", socket),
    ]


def _for_call(machine: Machine, call: str, body: list[bytes]) -> list[bytes]:
    """Run `body` if the system call in the accumulator is `call`; nothing where the processor has no such call."""
    number = NUMBERS[call][machine.column]
    if number is None:
        return []
    return [_jump(_JUMP_EQ, number, 0, len(body)), *body]


def _if_any(values: tuple[int, ...], then: bytes) -> list[bytes]:
    return [part for value in values for part in (_jump(_JUMP_EQ, value, 0, 1), then)]


def _load_argument(index: int) -> bytes:
    """The low 32 bits of an argument; both processors are little-endian."""
    return _statement(_LOAD, _ARGUMENTS_AT + 8 * index)


def _refuse(refusal: seccomp.Refusal) -> bytes:
    return _statement(_RETURN, _ERRNO | refusal.value)


def _statement(code: int, value: int) -> bytes:
    return _jump(code, value, 0, 0)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
