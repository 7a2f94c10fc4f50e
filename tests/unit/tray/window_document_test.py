"""The page as one document: what its policy lets act, and nothing that could fetch or evaluate."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

import tray.window.document
from tray.instance_messages import Page
from tray.window.document import Way, document

JS = sorted((Path(tray.window.document.__file__).parent / "page" / "js").glob("*.js"))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self._in_script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


@pytest.mark.parametrize("way", ["window", "http"])
def test_the_policy_names_the_one_script_by_its_hash_and_no_place(way: Way) -> None:
    tags = Tags(document("settings", way))
    policy = next(value for name, value in tags.attributes if name == "content" and value and "default-src" in value)
    script = "".join(tags.scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{digest}'", *(["'unsafe-eval'"] if way == "window" else [])]
    assert rules["connect-src"] == ("'none'" if way == "window" else "'self'")
    assert "unsafe-inline" not in policy
    assert not re.search(r"https?:|\*", policy)


def test_the_page_has_no_inline_handler_no_link_out_and_no_style_attribute() -> None:
    tags = Tags(document("settings", "window"))
    assert [name for name, _ in tags.attributes if name.startswith("on") or name in ("style", "src")] == []
    assert all(value and value.startswith("#") for name, value in tags.attributes if name == "href")


@pytest.mark.parametrize("path", JS, ids=lambda path: path.stem)
def test_no_script_parses_html_or_evaluates_text(path: Path) -> None:
    text = path.read_text()
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|\.style\b"
    )
    assert re.findall(forbidden, text) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_every_page_is_asked_for_by_the_word_on_its_button() -> None:
    main = next(path for path in JS if path.stem == "main").read_text()
    known = re.search(r"const PAGES = \{(.*)\}", main)
    assert known is not None
    assert tuple(re.findall(r"(\w+):", known[1])) == get_args(Page)
    buttons = re.findall(r'data-page="(\w+)">(\w+)<', document("join", "window"))
    assert [(page, label.lower()) for page, label in buttons] == [(page, page) for page in get_args(Page)]


def test_every_import_is_exported_where_it_points() -> None:
    texts = {path.stem: path.read_text() for path in JS}
    for name, text in texts.items():
        for names, source in re.findall(r'import \{([^}]*)\} from "\./(\w+)\.js"', text):
            for one in names.split(","):
                assert re.search(rf"^export (async )?(function|class|const) {one.strip()}\b", texts[source], re.M), (
                    name,
                    one,
                )
