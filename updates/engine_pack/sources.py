"""Where the wheels of a pack come from: pure functions of target and accelerator, and pip's command line for them.

pip judges environment markers (`platform_system == "Linux"`) by the system it runs on. For another system the list of
packages therefore comes from uv, which judges them by the target, and pip only fetches what the list names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from updates.engine_pack.manifest import PackError

CPU, CUDA, MPS = "cpu", "cuda", "mps"
_TORCH_CPU = "https://download.pytorch.org/whl/cpu"
_TORCH_CUDA = "https://download.pytorch.org/whl/cu128"


@dataclass(frozen=True, slots=True)
class Source:
    platforms: tuple[str, ...]
    """pip's names for systems whose wheels run there, best first."""
    uv_platform: str
    index: str
    """Where the torch of this accelerator is, besides PyPI; empty: PyPI has it."""


_LINUX = (*(f"manylinux_2_{minor}" for minor in range(28, 16, -1)), "manylinux2014", "linux")
_MAC = tuple(f"macosx_{major}_0" for major in range(14, 10, -1))
SOURCES: dict[tuple[str, str], Source] = {
    ("linux-x86_64", CPU): Source(tuple(f"{name}_x86_64" for name in _LINUX), "x86_64-manylinux_2_28", _TORCH_CPU),
    ("linux-x86_64", CUDA): Source(tuple(f"{name}_x86_64" for name in _LINUX), "x86_64-manylinux_2_28", ""),
    ("linux-aarch64", CPU): Source(tuple(f"{name}_aarch64" for name in _LINUX), "aarch64-manylinux_2_28", _TORCH_CPU),
    ("windows-x86_64", CPU): Source(("win_amd64",), "x86_64-pc-windows-msvc", ""),
    ("windows-x86_64", CUDA): Source(("win_amd64",), "x86_64-pc-windows-msvc", _TORCH_CUDA),
    ("darwin-aarch64", MPS): Source(
        tuple(f"{name}_{kind}" for name in _MAC for kind in ("arm64", "universal2")), "aarch64-apple-darwin", ""
    ),
}


@dataclass(frozen=True, slots=True)
class PackRequest:
    system: str
    """`linux-x86_64`."""
    accelerator: str
    python: str
    """`3.11`."""
    requirements: tuple[str, ...]
    """As in a requirements file."""
    index: str | None = None
    """Instead of the usual place of that torch; empty: only where pip looks anyway."""

    @property
    def target(self) -> str:
        return f"{self.system}-{self.accelerator}"

    @property
    def abi(self) -> str:
        return "cp" + self.python.replace(".", "")

    @property
    def source(self) -> Source:
        """Raises `PackError`."""
        try:
            return SOURCES[self.system, self.accelerator]
        except KeyError:
            allowed = ", ".join("-".join(pair) for pair in SOURCES)
            raise PackError(f"There is no engine pack for {self.target}; allowed are {allowed}.") from None


def pip_download(request: PackRequest, into: str, requirements: Sequence[str], *, listed: bool) -> tuple[str, ...]:
    """pip's arguments. `listed`: `requirements` are all packages, with their versions."""
    source = request.source
    index = source.index if request.index is None else request.index
    return (
        *("download", "--disable-pip-version-check", "--no-input", "--quiet", "--dest", into),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", request.python),
        *(part for abi in (request.abi, "abi3", "none") for part in ("--abi", abi)),
        *(part for platform in (*source.platforms, "any") for part in ("--platform", platform)),
        *(("--extra-index-url", index) if index else ()),
        *(("--no-deps",) if listed else ()),
        *requirements,
    )


def uv_compile(request: PackRequest) -> tuple[str, ...]:
    """uv's arguments; the requirements come by standard input, the list by standard output."""
    source = request.source
    index = source.index if request.index is None else request.index
    return (
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-config", "--only-binary", ":all:"),
        *("--python-platform", source.uv_platform, "--python-version", request.python),
        *(("--extra-index-url", index, "--index-strategy", "unsafe-best-match") if index else ()),
        "-",
    )
