"""`/v1/*`: the OpenAI API. Lean ASGI handlers, for the time to the first token is spent here."""

import secrets
import time
from collections.abc import Mapping, Sequence

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from coordinator.errors import JobFailedError
from coordinator.http.asgi import (
    AnyRequest,
    WhileConnected,
    header,
    http_scope,
    read_body,
    require_json,
    send_reply,
)
from coordinator.http.auth import key_of
from coordinator.http.gather import Gather
from coordinator.http.metrics import HttpMetrics
from coordinator.http.model_status import model_status
from coordinator.http.openai_replies import (
    EmbeddingReply,
    EmbeddingUsage,
    Model,
    ModelList,
    embedding_shapes,
    model_shape,
)
from coordinator.http.openai_schema import (
    chat_tasks,
    completion_tasks,
    embedding_task,
    parse_chat,
    parse_completion,
    parse_embedding,
)
from coordinator.http.services import Services
from coordinator.http.text_answers import TextAnswer, reply_streaming, reply_whole
from coordinator.http.waiting import HEADER, wait_of
from coordinator.interactive.loading import Wait
from coordinator.records import KeyRecord, ModelRecord
from coordinator.records import Scope as KeyScope
from coordinator.tickets import Again, Ticket
from gogrid.protocol.job_messages import EmbeddingDone, FailCode, Finished, Vectors
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, ResumeMode

_Task = ChatTask | CompletionTask | EmbeddingTask


class OpenAIRoutes:
    """The three endpoints that make workers work."""

    def __init__(self, services: Services, metrics: HttpMetrics) -> None:
        self._services = services
        self._metrics = metrics

    def lean(self) -> Mapping[str, ASGIApp]:
        """By exact path."""
        return {
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.completions,
            "/v1/embeddings": self.embeddings,
        }

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        key, body, patience = await self._posted(scope, receive)
        request = parse_chat(body)
        wait = wait_of(request.wait, patience)
        model = self._services.catalogue.model(request.model)
        tasks = chat_tasks(request, model, secrets.randbits(31), self._services.limits)
        answer = self._answer("chatcmpl-", model, choices=len(tasks), prompts=1, usage=request.include_usage)
        with Gather(self._submit(key, model, tasks, wait, request.resume_mode)) as gather:
            async with WhileConnected(receive):
                if request.streamed:
                    await self._stream(send, gather, answer, begun)
                else:
                    await reply_whole(send, gather, answer)

    async def completions(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        key, body, patience = await self._posted(scope, receive)
        request = parse_completion(body)
        wait = wait_of(request.wait, patience)
        model = self._services.catalogue.model(request.model)
        tasks = completion_tasks(request, model, secrets.randbits(31), self._services.limits)
        prompts = len(tasks) // request.choices
        answer = self._answer("cmpl-", model, choices=len(tasks), prompts=prompts, usage=request.include_usage)
        with Gather(self._submit(key, model, tasks, wait, request.resume_mode)) as gather:
            async with WhileConnected(receive):
                if request.streamed:
                    await self._stream(send, gather, answer, begun)
                else:
                    await reply_whole(send, gather, answer)

    async def embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        key, body, patience = await self._posted(scope, receive)
        request = parse_embedding(body)
        wait = wait_of(request.wait, patience)
        model = self._services.catalogue.model(request.model)
        task = embedding_task(request, model, self._services.limits)
        with Gather(self._submit(key, model, [task], wait)) as gather:
            async with WhileConnected(receive):
                rows, done = await _vectors(gather, len(task.inputs))
                data = embedding_shapes(rows, done.width, request.base64)
                usage = EmbeddingUsage(done.prompt_tokens, done.prompt_tokens)
                await send_reply(send, 200, msgspec.json.encode(EmbeddingReply(data, model.name, usage)))

    async def _posted(self, scope: Scope, receive: Receive) -> tuple[KeyRecord, bytes, str | None]:
        """The key, the body, and what the header says about waiting."""
        http = http_scope(scope, "POST")
        key = key_of(http, KeyScope.INFERENCE)
        require_json(http["headers"])
        limits = self._services.limits
        body = await read_body(http["headers"], receive, limits.json_bytes, limits)
        return key, body, header(http["headers"], HEADER)

    def _submit(
        self,
        key: KeyRecord,
        model: ModelRecord,
        tasks: Sequence[_Task],
        wait: Wait,
        mode: ResumeMode = ResumeMode.FAST,
    ) -> list[Ticket]:
        """All or none."""
        tickets: list[Ticket] = []
        try:
            for task in tasks:
                tickets.append(self._services.requests.submit(key, model, task, mode, wait))
        except BaseException:
            for ticket in tickets:
                ticket.cancel("another answer of the same request was refused")
            raise
        return tickets

    def _answer(self, prefix: str, model: ModelRecord, choices: int, prompts: int, usage: bool) -> TextAnswer:
        return TextAnswer(
            id=prefix + secrets.token_hex(12),
            created=int(self._services.clock()),
            model=model.name,
            fingerprint="fp_" + model.digest[:12],
            chat=prefix == "chatcmpl-",
            choices=choices,
            prompts=prompts,
            include_usage=usage,
        )

    async def _stream(self, send: Send, gather: Gather, answer: TextAnswer, begun: float) -> None:
        def first() -> None:
            self._metrics.first_token(time.perf_counter() - begun)

        await reply_streaming(send, gather, answer, self._services.limits, first)


def model_handlers(services: Services) -> list[HTTPRouteHandler]:
    """`/v1/models`."""

    @get("/v1/models")
    async def list_models(request: AnyRequest) -> ModelList:
        """Every model that can be asked for."""
        key_of(request.scope, KeyScope.INFERENCE)
        return ModelList([model_shape(record) for record in services.catalogue.models()])

    @get("/v1/models/{model_id:path}")
    async def retrieve_model(request: AnyRequest, model_id: FromPath[str]) -> Model:
        """One model by name, which may contain slashes, and where it is."""
        key_of(request.scope, KeyScope.INFERENCE)
        record = services.catalogue.model(model_id.removeprefix("/"))
        return model_shape(record, model_status(record, services.live.workers()))

    return [list_models, retrieve_model]


async def _vectors(gather: Gather, count: int) -> tuple[bytes, EmbeddingDone]:
    """All rows in order. Refuses an answer with rows missing or doubled."""
    pieces: list[Vectors] = []
    done: EmbeddingDone | None = None
    while batch := await gather.batch():
        for _, item in batch:
            if isinstance(item, Vectors):
                pieces.append(item)
            elif isinstance(item, Again):
                pieces.clear()
            elif isinstance(item, Finished) and isinstance(item.result, EmbeddingDone):
                done = item.result
    pieces.sort(key=lambda piece: piece.first)
    rows = b"".join(piece.data for piece in pieces)
    if done is None or len(rows) != count * done.width * 4:
        raise JobFailedError("The worker's embeddings are incomplete.", FailCode.INTERNAL.value)
    return rows, done
