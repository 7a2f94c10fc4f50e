"""What tells of the coordinator itself, its workers and its models: health, version, identity, metrics, lists."""

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from coordinator.http.asgi import AnyRequest
from coordinator.http.auth import key_of
from coordinator.http.metrics import HttpMetrics
from coordinator.http.native_schema import ModelListShape, WorkerListShape, model_shape, worker_shape
from coordinator.http.services import Services
from coordinator.records import Scope
from gogrid import __version__
from gogrid.protocol import PROTOCOL_OLDEST, PROTOCOL_VERSION

_METRICS_TYPE = "text/plain; version=0.0.4"


class Health(msgspec.Struct, frozen=True):
    status: str


class Readiness(msgspec.Struct, frozen=True):
    ready: bool
    missing: list[str]


class Version(msgspec.Struct, frozen=True):
    name: str
    version: str
    protocol_min: int
    protocol_max: int


def system_handlers(services: Services, metrics: HttpMetrics) -> list[HTTPRouteHandler]:
    @get("/healthz")
    async def healthz() -> Health:
        """The process is alive; says nothing about anything it depends on."""
        return Health("ok")

    @get("/readyz")
    async def readyz() -> Response[Readiness]:
        """Whether requests can be served; 503 names what is missing."""
        missing = services.live.unready()
        return Response(Readiness(not missing, missing), status_code=503 if missing else 200)

    @get("/version")
    async def version() -> Version:
        """What runs here."""
        return Version(services.name, __version__, PROTOCOL_OLDEST, PROTOCOL_VERSION)

    @get("/identity.pem", media_type="application/x-pem-file")
    async def identity() -> bytes:
        """The coordinator's public certificate; compare its pin before you trust it."""
        return services.identity_pem

    @get("/metrics", media_type=_METRICS_TYPE)
    async def prometheus(request: AnyRequest) -> bytes:
        """Prometheus text; needs an admin's key."""
        key_of(request.scope, Scope.ADMIN)
        return metrics.text()

    @get("/api/v1/workers")
    async def workers(request: AnyRequest) -> WorkerListShape:
        """Every worker that has joined; its address is shown to admins only."""
        key = key_of(request.scope, None)
        admin = Scope.ADMIN in key.scopes
        return WorkerListShape([worker_shape(view, admin) for view in services.live.workers()])

    @get("/api/v1/models")
    async def models(request: AnyRequest) -> ModelListShape:
        """Every model of the catalogue, and which workers have it loaded."""
        key_of(request.scope, None)
        views = services.live.workers()
        return ModelListShape([model_shape(record, views) for record in services.catalogue.models()])

    return [healthz, readyz, version, identity, prometheus, workers, models]
