"""The macOS profile opens what the policy lists and nothing else, and a rule that opened more would start nothing."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

import sandbox_profiles
from runner.errors import SandboxUnavailableError
from runner.sandbox.macos import profile as macos_profile
from runner.sandbox.macos.profile import faults, gpu_faults, profile_text
from sandbox_profiles import macos
from sandbox_profiles.sbpl import Form, Rule, Symbol, Text, parse


def text(name: str) -> str:
    return (files(sandbox_profiles) / name).read_text(encoding="utf-8")


BASE, GPU = text(macos.PROFILE), text(macos.GPU_PROFILE)
HEAD = "(version 1)\n(deny default)\n"


def allows(rules: tuple[Rule, ...], operation: str) -> list[Form]:
    """All filters of all rules that allow it."""
    return [
        part
        for rule in rules
        if Symbol(operation) in rule.form[1:]
        for part in rule.form[1:]
        if isinstance(part, tuple)
    ]


def test_denies_by_default_before_anything_is_allowed() -> None:
    rules = parse(BASE)
    assert [rule.form for rule in rules[:2]] == [("version", "1"), ("deny", "default")]
    assert {rule.form[0] for rule in rules[2:]} == {"allow"}


def test_every_rule_has_its_reason() -> None:
    for rule in (*parse(BASE)[2:], *parse(GPU)):
        assert len(rule.reason) > 20, rule


def test_network_is_allowed_by_no_rule() -> None:
    words = BASE.split() + GPU.split()
    assert not [word for word in words if word.startswith(("network", "(network", "system-socket"))]
    assert not {name for name in macos.OPERATIONS | macos.GPU_OPERATIONS if name.startswith(("network", "system-"))}


def test_services_are_looked_up_by_name_only() -> None:
    assert allows(parse(BASE), "mach-lookup") == [("global-name", name) for name in sorted(macos.SERVICES)[::-1]]
    assert {part[1] for part in allows(parse(GPU), "mach-lookup")} == macos.GPU_SERVICES
    assert all(part[0] in ("global-name", "xpc-service-name") for part in allows(parse(GPU), "mach-lookup"))


def test_files_are_written_only_below_out_tmp_and_dev_null() -> None:
    rules = parse(BASE)
    assert allows(rules, "file-write*") == [
        ("subpath", ("param", "OUT")),
        ("subpath", ("param", "TMP")),
    ]
    assert allows(rules, "file-write-data") == [
        ("require-all", ("literal", "/dev/null"), ("vnode-type", "CHARACTER-DEVICE"))
    ]
    written = {part for rule in (*rules, *parse(GPU)) for part in rule.form if str(part).startswith("file-write")}
    assert written == {"file-write*", "file-write-data"}


def test_only_the_python_given_is_executed() -> None:
    assert allows(parse(BASE), "process-exec") == [("subpath", ("param", "RT"))]


def test_writable_folders_hold_no_machine_code() -> None:
    mapped = allows(parse(BASE), "file-map-executable") + allows(parse(GPU), "file-map-executable")
    assert not {("subpath", ("param", name)) for name in macos.WRITABLE_PARAMETERS} & set(mapped)


def test_gpu_rules_come_with_the_grant_only() -> None:
    without, granted = profile_text(gpu=False), profile_text(gpu=True)
    assert without == BASE
    assert not {"iokit-open", "iokit-get-properties", "file-issue-extension"} & set(without.replace("(", " ").split())
    assert "MTLCompilerService" not in without
    assert granted.startswith(BASE)
    assert [rule.form for rule in parse(granted)] == [rule.form for rule in (*parse(BASE), *parse(GPU))]


def test_profiles_as_shipped_have_no_fault() -> None:
    assert faults(parse(BASE)) == ()
    assert gpu_faults(parse(GPU)) == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("(allow default)", "default may not be allowed"),
        ("(allow network*)", "network. may not be allowed"),
        ("(allow network-outbound (remote ip))", "network-outbound may not"),
        ("(allow file*)", "file. may not be allowed"),
        ("(allow mach-lookup)", "mach-lookup must say"),
        ('(allow mach-lookup (global-name-regex #".*"))', "mach-lookup is opened wider"),
        ('(allow mach-lookup (global-name "com.apple.SecurityServer"))', "mach-lookup is opened wider"),
        ('(allow mach-lookup (global-name "com.apple.MTLCompilerService"))', "mach-lookup is opened wider"),
        ("(allow process-exec)", "process-exec must say"),
        ('(allow process-exec (subpath (param "TMP")))', "process-exec is opened wider"),
        ('(allow process-exec (literal "/bin/sh"))', "process-exec is opened wider"),
        ("(allow file-read*)", "file-read. must say"),
        ('(allow file-read* (subpath "/"))', "file-read. is opened wider"),
        ('(allow file-read* (subpath "/Users"))', "file-read. is opened wider"),
        ('(allow file-read* (literal "/dev/tty"))', "file-read. is opened wider"),
        ('(allow file-read* (regex #"."))', "file-read. is opened wider"),
        ('(allow file-read* (require-not (subpath "/Users")))', "file-read. is opened wider"),
        ('(allow file-read* (subpath (param "HOME")))', "file-read. is opened wider"),
        ('(allow file-read* (subpath (string-append (param "RT") "/..")))', "file-read. is opened wider"),
        ('(allow file-write* (subpath (param "RT")))', "file-write. is opened wider"),
        ('(allow file-write* (subpath (param "MODELS")))', "file-write. is opened wider"),
        ('(allow file-read* file-write* (subpath (param "IN")))', "file-write. is opened wider"),
        ('(allow file-write-data (literal "/dev/null"))', "file-write-data is opened wider"),
        ('(allow file-map-executable (subpath (param "OUT")))', "file-map-executable is opened wider"),
        ("(allow signal)", "signal must say"),
        ("(allow signal (target others))", "signal is opened wider"),
        ("(allow process-info* (target others))", "process-info. is opened wider"),
        ('(allow ipc-posix-shm-read-data (ipc-posix-name-regex #"."))', "ipc-posix-shm-read-data is opened wider"),
        ("(allow ipc-posix-shm*)", "ipc-posix-shm. may not be allowed"),
        ('(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient"))', "without a granted GPU"),
        ('(deny file-read* (subpath "/x"))', "only .allow"),
        ('(if (param "GPU") (allow default))', "only .allow"),
        ('(import "bsd.sb")', "only .allow"),
        ("()", "only .allow"),
        ("(allow)", "operations come first"),
        ('(allow (subpath "/usr/lib") file-read*)', "operations come first"),
        ("(allow file-read-metadata (with no-sandbox))", "file-read-metadata is opened wider"),
    ],
)
def test_rule_that_opens_more_is_a_fault(rule: str, words: str) -> None:
    found = faults(parse(f"{HEAD}; a reason\n{rule}\n"))
    assert any(re.search(words, fault) for fault in found), found


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("(allow iokit-open)", "iokit-open must say"),
        ('(allow iokit-open (iokit-user-client-class "IOHIDParamUserClient"))', "iokit-open is opened wider"),
        ('(allow mach-lookup (global-name "com.apple.windowserver.active"))', "mach-lookup is opened wider"),
        ('(allow file-issue-extension (subpath "/"))', "file-issue-extension is opened wider"),
        ('(allow file-write* (subpath (param "TMP")))', "file-write. may not be allowed"),
        ("(allow iokit-set-properties)", "iokit-set-properties may not"),
    ],
)
def test_gpu_rule_that_opens_more_is_a_fault(rule: str, words: str) -> None:
    found = gpu_faults(parse(f"; a reason\n{rule}\n"))
    assert any(re.search(words, fault) for fault in found), found


def test_rule_without_a_reason_is_a_fault() -> None:
    assert faults(parse(f"{HEAD}\n(allow process-fork)\n")) == (
        "Line 4: the rule has no comment right above that says why.",
    )


@pytest.mark.parametrize(
    "head", ["", "(version 1)\n", "(deny default)\n(version 1)\n", "(version 1)\n(allow default)\n"]
)
def test_profile_that_does_not_begin_closed_is_a_fault(head: str) -> None:
    assert "must begin with" in faults(parse(f"{head}; a reason\n(allow process-fork)\n"))[0]


@pytest.mark.parametrize("damage", ["(allow default)", "(allow file-read*", "; a reason\n(allow network*)"])
def test_damaged_profile_starts_nothing(damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / macos.PROFILE).write_text(f"{BASE}\n{damage}\n")
    (tmp_path / macos.GPU_PROFILE).write_text(GPU)
    monkeypatch.setattr(macos_profile, "files", lambda _: tmp_path)
    with pytest.raises(SandboxUnavailableError, match="damaged"):
        profile_text(gpu=False)


def test_missing_profile_starts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(macos_profile, "files", lambda _: tmp_path)
    with pytest.raises(SandboxUnavailableError, match=r"gogrid\.sb cannot be read"):
        profile_text(gpu=False)


def test_parameters_named_are_the_parameters_given() -> None:
    def named(form: Form) -> set[str]:
        match form:
            case ("param", Text() as name):
                return {str(name)}
            case tuple():
                return {name for part in form for name in named(part)}
        return set()

    assert {name for rule in parse(BASE + GPU) for name in named(rule.form)} == set(macos.PARAMETERS)
