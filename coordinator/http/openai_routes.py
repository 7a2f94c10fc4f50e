"""`/v1/*`: the OpenAI API. Lean ASGI handlers, for the time to the first token is spent here."""

import secrets
import time
from collections.abc import Sequence

import msgspec
from litestar import Request, asgi, get
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from coordinator.errors import CoordinatorError, JobFailedError
from coordinator.http.asgi import (
    WhileConnected,
    read_body,
    require_json,
    send_reply,
)
from coordinator.http.auth import key_of
from coordinator.http.errors import HttpRefusal
from coordinator.http.gather import Gather
from coordinator.http.metrics import HttpMetrics
from coordinator.http.openai_replies import EmbeddingReply, EmbeddingUsage, Model, ModelList, embedding_shapes, model_shape
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
from coordinator.records import KeyRecord, ModelRecord
from coordinator.records import Scope as KeyScope
from coordinator.tickets import Ticket
from gogrid.protocol.messages import ChatTask, CompletionTask, EmbeddingDone, FailCode, Finished, Vectors

_ENCODER = msgspec.json.Encoder()


class OpenAIRoutes:
    def __init__(self, services: Services, metrics: HttpMetrics) -> None:
        self._services = services
        self._metrics = metrics

    def handlers(self) -> list[BaseRouteHandler]:
        return [
            asgi("/v1/chat/completions", copy_scope=False)(self.chat),
            asgi("/v1/completions", copy_scope=False)(self.completion),
            asgi("/v1/embeddings", copy_scope=False)(self.embeddings),
        ]

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        key, body = await self._post(scope, receive)
        request = parse_chat(body)
        model = self._services.catalogue.model(request.model)
        tasks = chat_tasks(request, model, secrets.randbits(31), self._services.limits)
        answer = self._answer("chatcmpl-", model, chat=True, choices=len(tasks), prompts=1)
        streamed, usage = request.streamed, request.include_usage
        await self._serve_text(receive, send, key, model, tasks, answer, streamed, usage, begun)
