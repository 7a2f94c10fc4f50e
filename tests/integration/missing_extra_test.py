"""A program that was installed without its extra says which one, instead of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from gogrid.extras import not_installed

_WITHOUT = "import sys; sys.modules[{package!r}] = None; from {module} import main; sys.exit(main({arguments!r}))"


@pytest.mark.parametrize(
    ("module", "package", "arguments", "extra"),
    [
        ("runner.__main__", "aioquic", ["run"], "worker"),
        ("runner.__main__", "tomlkit", ["join"], "worker"),
        ("coordinator.cli.main", "sqlalchemy", ["init"], "coordinator"),
    ],
)
def test_a_missing_package_names_the_extra(
    tmp_path: Path, module: str, package: str, arguments: list[str], extra: str
) -> None:
    places = ["--data", str(tmp_path / "data")] + (["--config", str(tmp_path / "c")] if extra == "worker" else [])
    code = _WITHOUT.format(package=package, module=module, arguments=[*arguments, *places])
    ended = subprocess.run([sys.executable, "-c", code], input=b"ggj1_x\n", capture_output=True, check=False)
    (line,) = ended.stderr.decode().splitlines()
    assert ended.returncode == 2
    assert package in line
    assert f"gogrid[{extra}]" in line


def test_a_module_of_our_own_that_is_missing_stays_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError):
        not_installed(ModuleNotFoundError("no", name="runner.gone"), "worker")
