"""The shipped filters are what the policy says, for both processors, without needing either."""

import struct
from collections.abc import Iterator

import pytest

from sandbox_profiles import seccomp
from sandbox_profiles.bpf import MACHINES, Machine, program
from sandbox_profiles.seccomp_generate import filter_path
from sandbox_profiles.syscalls import NUMBERS

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_JUDGED_BY_ARGUMENTS = {"clone", "fcntl", "ioctl", "personality", "prlimit64", "socket", "socketpair"}


def run(code: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: an interpreter of the few instructions that filters use."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = list(struct.iter_unpack("<HBBI", code))
    at = accumulator = 0
    while True:
        kind, if_true, if_false, value = steps[at]
        at += 1
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif kind == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[kind]
            at += if_true if holds else if_false


def refused_calls(machine: Machine) -> Iterator[tuple[int, int]]:
    for group in seccomp.REFUSED:
        for call in group.calls:
            number = NUMBERS[call][machine.column]
            if number is not None:
                yield number, group.refusal.value


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
class TestFilter:
    def test_shipped_file_is_what_the_generator_makes(self, machine: Machine) -> None:
        assert filter_path(machine.name).read_bytes() == program(machine)

    def test_every_listed_call_is_refused_and_every_other_allowed(self, machine: Machine) -> None:
        code = program(machine)
        refused = dict(refused_calls(machine))
        judged = {NUMBERS[name][machine.column] for name in _JUDGED_BY_ARGUMENTS}
        for number in range(600):
            if number not in judged:
                wanted = _ERRNO | refused[number] if number in refused else _ALLOW
                assert run(code, machine.audit_arch, number) == wanted, number

    def test_foreign_processor_is_killed(self, machine: Machine) -> None:
        for arch in {0x40000003, 0xC000003E, 0xC00000B7, 0x40000028, 0} - {machine.audit_arch}:
            assert run(program(machine), arch, 39) == _KILL

    def test_x32_calls_are_killed(self, machine: Machine) -> None:
        wanted = _KILL if machine.has_x32 else _ALLOW
        assert run(program(machine), machine.audit_arch, 0x40000000 | 39) == wanted
        assert run(program(machine), machine.audit_arch, 0xFFFFFFFF) == wanted

    def test_clone_may_make_threads_and_processes_but_no_namespace(self, machine: Machine) -> None:
        thread, process = 0x003D0F00, 0x01200011
        assert self._ask(machine, "clone", thread) == self._ask(machine, "clone", process) == _ALLOW
        for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
            assert self._ask(machine, "clone", process | flag) == _ERRNO | 1

    def test_terminal_ioctls_are_refused_whatever_the_high_bits(self, machine: Machine) -> None:
        for request in seccomp.REFUSED_IOCTLS:
            assert self._ask(machine, "ioctl", 0, request) == _ERRNO | 1
            assert self._ask(machine, "ioctl", 0, request | 0xDEAD << 32) == _ERRNO | 1
        for request in (0x5413, 0x5422, 0x80045430, 0x5421):  # window size, TIOCNOTTY, TIOCGPTN, FIONBIO
            assert self._ask(machine, "ioctl", 0, request) == _ALLOW

    def test_leases_and_notes_of_folders_are_refused_whatever_the_high_bits(self, machine: Machine) -> None:
        for command in (1024, 1026):
            assert self._ask(machine, "fcntl", 3, command) == _ERRNO | 1
            assert self._ask(machine, "fcntl", 3, command | 0xDEAD << 32) == _ERRNO | 1
        for command in (*range(20), 36, 37, 38, 1025, *range(1027, 1040)):  # plain, locks, F_GETLEASE, pipes and seals
            assert self._ask(machine, "fcntl", 3, command) == _ALLOW

    def test_only_the_own_limits_are_asked_for_or_set(self, machine: Machine) -> None:
        assert self._ask(machine, "prlimit64", 0, 7) == self._ask(machine, "prlimit64", 1 << 32, 7) == _ALLOW
        for process in (1, 2, 1 << 31, 0xFFFFFFFF, 1 | 1 << 32):
            assert self._ask(machine, "prlimit64", process, 7) == _ERRNO | 1

    @pytest.mark.parametrize("call", ["socket", "socketpair"])
    def test_only_plain_socket_families_are_allowed(self, machine: Machine, call: str) -> None:
        for family in range(50):
            wanted = _ALLOW if family in (1, 2, 10, 16) else _ERRNO | 97
            assert self._ask(machine, call, family, 1, 0) == wanted
        assert self._ask(machine, call, 16, 3, 9) == _ERRNO | 97

    def test_only_plain_personality_is_allowed(self, machine: Machine) -> None:
        assert self._ask(machine, "personality", 0) == self._ask(machine, "personality", 0xFFFFFFFF) == _ALLOW
        assert self._ask(machine, "personality", 0x40000) == _ERRNO | 1

    def test_program_fits_the_kernel(self, machine: Machine) -> None:
        steps = list(struct.iter_unpack("<HBBI", program(machine)))
        assert len(steps) < 4096
        assert all(at + 1 + max(yes, no) < len(steps) for at, (kind, yes, no, _) in enumerate(steps) if kind & 7 == 5)

    def _ask(self, machine: Machine, call: str, *arguments: int) -> int:
        number = NUMBERS[call][machine.column]
        assert number is not None
        return run(program(machine), machine.audit_arch, number, arguments)


def test_calls_that_torch_and_cuda_need_are_not_named() -> None:
    needed = {
        "memfd_create",
        "mbind",
        "get_mempolicy",
        "membarrier",
        "rseq",
        "sched_setaffinity",
        "landlock_create_ruleset",
    }
    assert not needed & NUMBERS.keys()


def test_every_number_belongs_to_a_rule() -> None:
    named = {call for group in seccomp.REFUSED for call in group.calls}
    assert NUMBERS.keys() == named | _JUDGED_BY_ARGUMENTS
    for column in (0, 1):
        numbers = [pair[column] for pair in NUMBERS.values() if pair[column] is not None]
        assert len(numbers) == len(set(numbers))
