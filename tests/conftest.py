"""Settings for all tests, and the rule that nothing is skipped where CI=true.

The environment is set before the libraries it concerns are imported.
"""

import os

import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # torch's threads sleep soon, as in the product
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """In CI a skipped test is one that something should have been installed for."""
    report = yield
    if _IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not allow: {report.longrepr}"
    return report
