"""Threats 13 and 14: a model that passes every check and attacks while it serves, on a real worker through the API.

One tiny model carries them all: what the question says chooses the attack in its chat template, and its tokenizer's
expression backtracks over long runs of `x`.
"""

import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.attack.evil_models import sound
from tests.attack.hostile_grid import HostileGrid
from tests.faults.faultgrid import words_of

pytestmark = [pytest.mark.sandbox, pytest.mark.torch]

_SOON_S = 2.0
_TOKENIZER_S = 5.0
_BUSY_S = 10.0
"""For a machine that does other things besides."""
TEMPLATES = {
    "endless loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "huge output": "{% for a in range(99999) %}{{ 'x' * 4000 }}{% endfor %}",
    "doubling": "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "huge number": "{{ 9 ** 9 ** 9 ** 9 }}",
    "huge format": "{{ '%0999999999d' % 1 }}",
    "huge centre": "{{ 'x'.center(10 ** 9) }}",
    "huge width": "{{ '{:999999999}'.format(1) }}",
    "huge filter": "{{ '%999999999d'|format(1) }}",
    "huge filler": "{{ lipsum(n=1000000, min=1000, max=1001) }}",
    "huge replacement": "{{ ('x' * 4000000)|replace('x', 'y' * 4000000) }}",
    "huge batch": "{{ [1]|batch(10 ** 9, 'x')|list }}",
    "huge join": "{{ range(10 ** 5)|join('x' * 4000000) }}",
    "huge indent": "{{ ('a\\n' * 100000)|indent(100000) }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}",
    "function's globals": "{{ strftime_now.__globals__['os'].system('touch MARKER') }}",
    "format string": "{{ '{0.__class__.__init__.__globals__}'.format(strftime_now) }}",
    "format by attr": "{{ ('{0.__class__.__mro__}'|attr('format'))(messages) }}",
    "environment": "{{ self._TemplateReference__context.environment.__init__.__globals__ }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.system('touch MARKER') }}",
    "code object": "{{ joiner.__init__.__code__ }}",
}
QUESTIONS = {
    "expression that panics": "x" * 60,
    "expression that takes minutes": ("x" * 22 + " ") * 850,
}


@pytest.fixture(scope="module")
def evil(grid: HostileGrid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostileGrid, httpx.Client]]:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("evil-model")
    marker = folder / "marker"
    cases = "".join(
        f"{{% if messages[0].content == {name!r} %}}{attack.replace('MARKER', str(marker))}{{% endif %}}"
        for name, attack in TEMPLATES.items()
    )
    model = sound(folder / "model", cases + "{{ messages[0].content }}", pattern=r"(x+x+)+y|\w|\W")
    grid.local.add_model("evil", model)
    key = {"authorization": f"Bearer {grid.local.admin_key}"}
    with httpx.Client(base_url=grid.local.endpoint.plain_url, headers=key, timeout=100.0) as http:
        deadline = time.monotonic() + 10
        while "evil" not in http.get("/v1/models").text:
            assert time.monotonic() < deadline, "the running coordinator does not learn of the model"
            time.sleep(0.02)
        loaded = _ask(http, "hello")
        assert loaded.status_code == 200, loaded.text
        yield grid, http
    assert not marker.exists()


@pytest.mark.parametrize("name", [*TEMPLATES, *QUESTIONS])
def test_attack_of_a_served_model_fails_its_request_and_nothing_else(
    evil: tuple[HostileGrid, httpx.Client], name: str
) -> None:
    grid, http = evil
    executor = _executors(grid)
    began = time.monotonic()
    refused = _ask(http, QUESTIONS.get(name, name))
    took = time.monotonic() - began
    assert refused.status_code == 400, refused.text
    assert took < _TOKENIZER_S + _BUSY_S
    began = time.monotonic()
    assert _ask(http, "hello").status_code == 200
    assert grid.run("print('next')").stdout == "next\n"
    assert time.monotonic() - began < 2 * _SOON_S
    assert _executors(grid) == executor, "the same process serves on"


def _ask(http: httpx.Client, question: str) -> httpx.Response:
    body = {"model": "evil", "max_tokens": 2, "messages": [{"role": "user", "content": question}]}
    return http.post("/v1/chat/completions", json=body)


def _executors(grid: HostileGrid) -> set[int]:
    family = psutil.Process(grid.local.worker_pid).children(recursive=True)
    return {one.pid for one in family if "runner.executor" in " ".join(words_of(one))}
