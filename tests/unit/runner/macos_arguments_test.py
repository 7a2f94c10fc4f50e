"""The `sandbox-exec` command line: golden as a whole, and no path that could open more than it names."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxSpec
from runner.sandbox.macos.arguments import JobFolders, MacPython, check_path, environment, sandbox_exec_arguments
from sandbox_profiles import macos

HOME = "/Home/ann"
PYTHON = MacPython(
    executable="/Library/Frameworks/Python.framework/Versions/3.11/bin/python3.11",
    root="/Library/Frameworks/Python.framework/Versions/3.11",
    site="/Home/ann/gogrid/lib/python3.11/site-packages",
    packages="/Home/ann/gogrid/lib/python3.11/site-packages",
    gogrid="/Home/ann/src/gogrid",
    runner="/Home/ann/src/runner",
    bootstrap="/Home/ann/src/runner/sandbox/macos/inside.py",
)
ROOT = "/private/var/folders/xy/T/gogrid-job-7-abc"
FOLDERS = JobFolders(
    root=ROOT, inputs=f"{ROOT}/job/in", outputs=f"{ROOT}/job/out", temporary=f"{ROOT}/tmp", models=f"{ROOT}/models"
)
SCRIPT = SandboxSpec(
    arguments=("some.module", "one", "(two)"),
    mounts=(Mount(Path("/private/in.py"), "/job/in/main.py"),),
    memory_bytes=1 << 30,
    cpu_seconds=7,
    tmp_bytes=1 << 20,
    out_bytes=2 << 20,
    threads=3,
)
MODEL = SandboxSpec(
    arguments=("runner.executor",),
    mounts=(Mount(Path("/Home/ann/models/a b"), "/models/current"),),
    writable=Mount(Path("/Home/ann/staging/x"), "/models/converted"),
    gpus=("metal",),
)

GOLDEN = [
    "/usr/bin/sandbox-exec",
    *("-D", "RT=/Library/Frameworks/Python.framework/Versions/3.11"),
    *("-D", "SITE=/Home/ann/gogrid/lib/python3.11/site-packages"),
    *("-D", "GOGRID=/Home/ann/src/gogrid"),
    *("-D", "RUNNER=/Home/ann/src/runner"),
    *("-D", f"MODELS={ROOT}/models"),
    *("-D", f"IN={ROOT}/job/in"),
    *("-D", f"OUT={ROOT}/job/out"),
    *("-D", f"TMP={ROOT}/tmp"),
    *("-p", "(profile)"),
    "/Library/Frameworks/Python.framework/Versions/3.11/bin/python3.11",
    *("-I", "-S", "-B", "-X", "utf8"),
    "/Home/ann/src/runner/sandbox/macos/inside.py",
    "1024,7,2097152",
    *("some.module", "one", "(two)"),
]


def arguments(
    spec: SandboxSpec = SCRIPT, python: MacPython = PYTHON, folders: JobFolders = FOLDERS, home: str = HOME
) -> list[str]:
    return list(sandbox_exec_arguments(macos.SANDBOX_EXEC, "(profile)", python, folders, spec, home))


def test_whole_command_line_of_a_script() -> None:
    assert arguments() == GOLDEN


def test_model_and_staging_folder_are_parameters() -> None:
    given = arguments(MODEL)
    assert "MODELS=/Home/ann/models/a b" in given
    assert "OUT=/Home/ann/staging/x" in given
    assert given[-2:] == ["1024,-1,-1", "runner.executor"]


def test_what_a_job_does_not_use_is_an_empty_folder_and_never_left_out() -> None:
    given = arguments(SandboxSpec(arguments=("this",)))
    assert [part.partition("=")[0] for part in given[2:17:2]] == list(macos.PARAMETERS)
    assert f"MODELS={ROOT}/models" in given


def test_whole_environment() -> None:
    assert environment(PYTHON, FOLDERS, SCRIPT) == {
        "PATH": "/usr/bin",
        "USER": "gogrid",
        "LANG": "en_US.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": f"{ROOT}/tmp",
        "TMPDIR": f"{ROOT}/tmp",
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "NUMEXPR_NUM_THREADS": "3",
        "VECLIB_MAXIMUM_THREADS": "3",
        "GOGRID_PLACES": ROOT,
        "PYTHONPATH": "/Home/ann/gogrid/lib/python3.11/site-packages",
    }
    assert set(environment(PYTHON, FOLDERS, SCRIPT)) == macos.ENVIRONMENT_NAMES


@pytest.mark.parametrize(
    "path", ["/var/x", "/var", "/tmp/x", "/etc/x", "x", "", "/a/../b", "/a//b", "/a/", "//a", "/a\0b"]
)
def test_path_that_is_not_canonical_is_refused(path: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="not canonical"):
        check_path("OUT", path, HOME)
    with pytest.raises(SandboxUnavailableError, match="not canonical"):
        arguments(folders=replace(FOLDERS, temporary=path))


@pytest.mark.parametrize("path", [*macos.TOO_WIDE, HOME])
def test_path_that_shows_more_than_a_jobs_own_files_is_refused(path: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="far more than its own files"):
        check_path("MODELS", path, HOME)
    with pytest.raises(SandboxUnavailableError, match="far more than its own files"):
        arguments(python=replace(PYTHON, root=path))


def test_every_parameter_is_checked() -> None:
    for field in ("root", "site", "gogrid", "runner"):
        with pytest.raises(SandboxUnavailableError):
            arguments(python=replace(PYTHON, **{field: "/var/x"}))
    for field in ("inputs", "outputs", "temporary", "models"):
        with pytest.raises(SandboxUnavailableError):
            arguments(folders=replace(FOLDERS, **{field: "/var/x"}))


@pytest.mark.parametrize("inside", ["/usr/lib", "/models", "/models/../x", "/models//x", "/job/out/x", "/models/a\0b"])
def test_mount_elsewhere_is_refused(inside: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="Nothing may be mounted"):
        arguments(replace(SCRIPT, mounts=(Mount(Path("/private/x"), inside),)))


def test_two_models_or_two_writable_folders_are_refused() -> None:
    with pytest.raises(SandboxUnavailableError, match="one model"):
        arguments(replace(MODEL, mounts=(*MODEL.mounts, Mount(Path("/private/b"), "/models/b"))))
    with pytest.raises(SandboxUnavailableError, match="one folder to write"):
        arguments(replace(MODEL, out_bytes=1))


@given(st.text(alphabet="ab ()\";#\\\n\r='`|é%$", min_size=1, max_size=12))
def test_no_character_of_a_path_changes_the_profile(name: str) -> None:
    """It travels as one whole parameter; the profile's text stays what it was."""
    spec = replace(MODEL, mounts=(Mount(Path(f"/Home/ann/models/{name}x"), "/models/current"),))
    given_ = arguments(spec)
    assert given_[given_.index("-p") + 1] == "(profile)"
    assert given_[9:11] == ["-D", f"MODELS=/Home/ann/models/{name}x"]
    assert len(given_) == len(arguments(MODEL))
