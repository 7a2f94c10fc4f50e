"""What a program is told of a failure, and what a person is told of the demo."""

import json
from pathlib import Path

import pytest

from gogrid.client.cli import main
from gogrid.client.commands.demo import invitation


@pytest.mark.parametrize(
    ("argv", "environment", "code"),
    [
        (["chat", "m", "x"], {"GOGRID_URL": "http://127.0.0.1:9", "GOGRID_API_KEY": "x"}, "unreachable"),
        (["models"], {}, "cannot"),
        (["run"], {}, "usage"),
        (["jobs", "show", "no/id"], {"GOGRID_URL": "http://127.0.0.1:9", "GOGRID_API_KEY": "x"}, "failed"),
    ],
    ids=["unreachable", "cannot", "usage", "failed"],
)
def test_a_failures_code_says_who_has_to_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], environment: dict[str, str], code: str
) -> None:
    here = {"GOGRID_CLIENT_CONFIG": str(tmp_path / "client.toml")}
    assert main([*argv, "--json"], here | environment) == (1 if code == "failed" else 2)
    assert json.loads(capsys.readouterr().err)["error"]["code"] == code


def test_the_demo_names_keep_only_where_it_was_not_given() -> None:
    assert "--keep" in invitation("http://127.0.0.1:1", "k", stays=False)
    assert invitation("http://127.0.0.1:1", "k", stays=True) == (
        "Any OpenAI client:\n  OPENAI_BASE_URL=http://127.0.0.1:1/v1 OPENAI_API_KEY=k"
    )
