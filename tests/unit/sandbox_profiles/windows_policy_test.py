"""The Windows policy says what its threat table says."""

import pytest

from sandbox_profiles import windows


def test_nothing_may_leave_a_job_and_everything_ends_with_it() -> None:
    assert not windows.JOB_LIMITS & (windows.JobLimit.BREAKAWAY_OK | windows.JobLimit.SILENT_BREAKAWAY_OK)
    assert windows.JOB_LIMITS & windows.JobLimit.KILL_ON_JOB_CLOSE
    assert not windows.CREATION & windows.Creation.BREAKAWAY_FROM_JOB


def test_all_eight_user_interface_limits_are_set() -> None:
    assert windows.UI_LIMITS == 0xFF


def test_no_process_runs_before_it_is_checked() -> None:
    assert windows.CREATION & windows.Creation.SUSPENDED


def test_mitigations_leave_graphics_drivers_and_made_code_alone() -> None:
    win32k, dynamic_code = 0x3 << 28, 0x3 << 36
    assert not windows.MITIGATIONS & (win32k | dynamic_code)


@pytest.mark.parametrize(
    ("group", "denied"),
    [
        ("S-1-5-32-544", True),
        ("S-1-5-21-1004336348-1177238915-682003330-512", True),
        ("S-1-5-32-545", False),
        ("S-1-5-21-1004336348-1177238915-682003330-513", False),
        ("S-1-1-512", False),
    ],
)
def test_groups_of_administrators_may_only_refuse(group: str, denied: bool) -> None:
    assert windows.is_denied(group) is denied


def test_what_a_token_cannot_do_is_never_claimed() -> None:
    assert {"no network", "no host files"} <= set(windows.NEVER_ENFORCED)
    assert not set(windows.REQUIRED_LAYERS) & set(windows.NEVER_ENFORCED)
