"""The page as one document: style and scripts inside, nothing fetched from anywhere.

Promises: the policy in its head names the one script and the one style that may act, by their hashes; no other source
of any kind is allowed. Each file of `page/js/` becomes a function of its own, so that what it does not export stays in
it; an import is of a file that stands before it.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Literal

from tray.instance_messages import Page

Way = Literal["window", "http"]
"""How calls leave the page: by pywebview's bridge, or, in tests, as HTTP requests to where it came from."""

_FOLDER = Path(__file__).parent / "page"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def document(page: Page, way: Way) -> str:
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in (_FOLDER / "js").glob("*.js")}
    script = "\n".join(_module(name, scripts[name]) for name in _in_order(scripts, "main"))
    parts = {"policy": policy(script, style, way), "page": page, "way": way, "style": style, "script": script}
    text = (_FOLDER / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def policy(script: str, style: str, way: Way) -> str:
    """The content security policy.

    pywebview's own bridge is made of evaluated text, so that the window has to allow that; text still becomes script
    only through `eval`, which this page never calls.
    """
    by_eval = " 'unsafe-eval'" if way == "window" else ""
    connect = "'self'" if way == "http" else "'none'"
    return (
        f"default-src 'none'; script-src '{_hash(script)}'{by_eval}; style-src '{_hash(style)}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _in_order(scripts: dict[str, str], last: str) -> list[str]:
    """Every file that `last` needs, each behind those that it imports."""
    order: list[str] = []

    def add(name: str) -> None:
        if name not in order:
            for found in _IMPORT.finditer(scripts[name]):
                add(found[2])
            order.append(name)

    add(last)
    return order


def _module(name: str, text: str) -> str:
    exported = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(r"const {\1} = from_\2;", text))
    return f"const from_{name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"
