"""The names of built-in model classes are those of the installed transformers."""

import importlib.util
import subprocess
import sys

import pytest

from coordinator.models.architectures import CHAT, EMBEDDING

_NAMES = """
from transformers.models.auto import modeling_auto as auto
for mapping in (auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_MAPPING_NAMES):
    print(*(name for value in mapping.values() for name in ([value] if isinstance(value, str) else value)))
"""


@pytest.mark.torch
def test_every_known_class_is_built_into_transformers() -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("the engine extra is not installed")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _NAMES], capture_output=True, text=True, check=True)
    chat, base = (set(line.split()) for line in done.stdout.splitlines()[-2:])
    assert chat >= CHAT
    assert base >= EMBEDDING
