"""JSON bodies into typed values; every complaint is a `RequestError` of ours that names the parameter. Pure."""

import re
from typing import TypeVar

import msgspec

from coordinator.errors import RequestError

_T = TypeVar("_T")
_HALF_PAIR = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])"
)


def decode(body: bytes, decoder: "msgspec.json.Decoder[_T]") -> _T:
    """Raises nothing but `RequestError`, whatever the bytes."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _complaint(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid JSON: {_what(error, body)}.", None, "invalid_json") from None
    except RecursionError:
        raise RequestError("The body is nested too deeply.", None, "invalid_json") from None


def inside(error: RequestError, field: str) -> RequestError:
    """The same complaint, about something within `field`."""
    if error.param is None:
        return RequestError(f"`{field}`: {error}", field, error.code)
    param = f"{field}.{error.param}"
    return RequestError(str(error).replace(f"`{error.param}", f"`{param}", 1), param, error.code)


def _what(error: Exception, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if _HALF_PAIR.search(body):
        return "a text in it has half of a surrogate pair (`\\ud800`…`\\udfff`), which is no character"
    text = str(error)
    if "truncated" in text:
        return "it ends too early" if body.strip() else "it is empty"
    return text.removeprefix("JSON is malformed: ")


def _complaint(text: str) -> RequestError:
    """Turn msgspec's `Expected … - at `$.a.b`` into a sentence that begins with the parameter."""
    what, _, where = text.partition(" - at `")
    what = what if what.isprintable() else ascii(what)[1:-1]
    path = where.rstrip("`").removeprefix("$").removeprefix(".")
    for start in ("Object contains unknown field `", "Object missing required field `"):
        if what.startswith(start):
            field = what.removeprefix(start).rstrip("`")
            param = f"{path}.{field}" if path else field
            if "unknown" in start:
                return RequestError(f"`{param}` is not a parameter known here.", param, "unknown_parameter")
            return RequestError(f"`{param}` is required.", param, "missing_required_parameter")
    if not path:
        return RequestError(f"The body is wrong: {what}.", None, "invalid_value")
    return RequestError(f"`{path}`: {what}.", path, "invalid_value")
