"""Durable jobs for models: their `request` becomes the same task as it would at the OpenAI endpoint of its kind. Pure.

A job has one answer and nobody who listens: what asks for several answers, for a stream or for its own kind of waiting
is refused by name. Log-probabilities are not kept, so they are refused, too.
"""

from coordinator.errors import RequestError
from coordinator.http.job_schema import JobRequest
from coordinator.http.json_body import inside
from coordinator.http.openai_schema import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    chat_tasks,
    completion_tasks,
    embedding_task,
    parse_chat,
    parse_completion,
    parse_embedding,
)
from coordinator.http.services import Catalogue, Limits
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask

ModelTask = ChatTask | CompletionTask | EmbeddingTask
_HERE = {
    "stream": "a job has no stream: its answer is kept until it is asked for",
    "stream_options": "a job has no stream",
    "n": "a job has one answer: submit several jobs",
    "logprobs": "a job's answer is kept without log-probabilities",
    "top_logprobs": "a job's answer is kept without log-probabilities",
    "wait": "a job waits for as long as it takes",
    "resume": "a job that loses its worker runs again from its beginning",
    "encoding_format": "ask for it with the result: `…/result?encoding_format=base64`",
}
_NOTHING_SAID = (None, False, 0)


def model_task(job: JobRequest, catalogue: Catalogue, seed: int, limits: Limits) -> tuple[str, ModelTask]:
    """The model's name, and the task; `seed` is used when the request names none.

    Raises:
        RequestError: names the parameter below `request`.
        UnknownModelError: no such model.
    """
    body = bytes(job.request)
    try:
        match job.kind:
            case "chat":
                chat = parse_chat(body)
                _refuse(chat)
                return chat.model, chat_tasks(chat, catalogue.model(chat.model), seed, limits)[0]
            case "completion":
                completion = parse_completion(body)
                _refuse(completion)
                tasks = completion_tasks(completion, catalogue.model(completion.model), seed, limits)
                if len(tasks) > 1:
                    raise RequestError("`prompt`: a job has one prompt: submit several jobs.", "prompt")
                return completion.model, tasks[0]
            case _:
                embedding = parse_embedding(body)
                _refuse(embedding)
                return embedding.model, embedding_task(embedding, catalogue.model(embedding.model), limits)
    except RequestError as error:
        raise inside(error, "request") from None


def _refuse(request: ChatRequest | CompletionRequest | EmbeddingRequest) -> None:
    for param, why in _HERE.items():
        value = getattr(request, param, None)
        if value not in _NOTHING_SAID and not (param == "n" and value == 1):
            raise RequestError(f"`{param}`: {why}.", param, "unsupported_parameter")
