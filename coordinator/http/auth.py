"""Who is asking: API keys for people, session tickets for workers.

Promises: everything but `PUBLIC_PATHS` needs one or the other, also paths that do not exist; a key is read from
`Authorization: Bearer` or `x-api-key` only, never from the address or a cookie; two different keys are refused.
Updates and downloads (`PUBLIC_PREFIXES`) are for machines that have not joined yet, too: releases are no secret, and
`visitors.py` bounds what they cost. Worker blobs (`/blobs/…`) are opened by a session ticket and by nothing else.
"""

from litestar.types import HTTPScope

from coordinator.errors import KeyRefusedError, ScopeError
from coordinator.http.asgi import Headers
from coordinator.http.services import Services
from coordinator.records import KeyRecord, Scope
from gogrid.ids import WorkerId

PUBLIC_PATHS = frozenset(
    {"/", "/healthz", "/readyz", "/version", "/identity.pem", "/downloads", "/downloads/style.css"}
)
PUBLIC_PREFIXES = ("/updates/", "/files/")
BLOB_PREFIX = "/blobs/"

_KEY = "gogrid_key"
_WORKER = "gogrid_worker"
_LONGEST_BEARER = 512


def admit(services: Services, scope: HTTPScope) -> None:
    """Remember in the scope who asks.

    Raises:
        UnknownKeyError: a key that is not known so far.
        KeyRefusedError: nobody we know.
    """
    path = scope["path"]
    if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES):
        return
    bearer = _bearer(scope["headers"])
    if path.startswith(BLOB_PREFIX):
        worker = services.live.holder_of_ticket(bearer)
        if worker is None:
            raise KeyRefusedError("Blobs are for connected workers: this ticket belongs to no open session.")
        scope.setdefault("state", {})[_WORKER] = worker
    else:
        scope.setdefault("state", {})[_KEY] = services.keyring.authenticate(bearer, services.clock())


def key_of(scope: HTTPScope, needed: Scope | None) -> KeyRecord:
    """The key that asks, if it carries `needed` (None: any key will do).

    Raises:
        ScopeError: it does not.
    """
    key = scope.get("state", {}).get(_KEY)
    if not isinstance(key, KeyRecord):
        raise KeyRefusedError("This needs an API key.")
    if needed is None or needed in key.scopes or Scope.ADMIN in key.scopes:
        return key
    raise ScopeError(f"The key {key.name!r} lacks the scope {needed.value!r}.")


def worker_of(scope: HTTPScope) -> WorkerId:
    """The worker whose ticket opened this request."""
    worker = scope.get("state", {}).get(_WORKER)
    if not isinstance(worker, str):
        raise KeyRefusedError("This needs a worker's session ticket.")
    return WorkerId(worker)


def _bearer(headers: Headers) -> str:
    found = {value for value in map(_credential, headers) if value is not None}
    if not found:
        raise KeyRefusedError("No API key was given: send `Authorization: Bearer ggk_…`.")
    if len(found) > 1:
        raise KeyRefusedError("Two different API keys were given: send one.")
    bearer = found.pop()
    if not bearer.isascii() or len(bearer) > _LONGEST_BEARER:
        raise KeyRefusedError("This is not an API key.")
    return bearer


def _credential(header: tuple[bytes, bytes]) -> str | None:
    name, value = header
    if name == b"authorization":
        kind, _, rest = value.decode("latin-1").partition(" ")
        return rest.strip() if kind.lower() == "bearer" and rest.strip() else None
    if name == b"x-api-key":
        return value.decode("latin-1").strip() or None
    return None
