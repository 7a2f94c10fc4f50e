"""`/api/v1/jobs/{id}/result`: what came of a job, as its OpenAI endpoint would have answered. Pure."""

import msgspec

from coordinator.errors import ConflictError, NotFoundError
from coordinator.http.job_shapes import result_shape
from coordinator.http.openai_replies import EmbeddingReply, EmbeddingUsage, embedding_shapes
from coordinator.http.text_answers import TextAnswer
from coordinator.records import JobKind, JobRecord, TextResult, VectorsResult, decode_result
from gogrid.protocol.job_messages import PythonDone
from gogrid.protocol.tasks import PythonTask


def result_body(record: JobRecord, base64: bool) -> bytes:
    """JSON; embeddings as floats or in base64. May take long for many embeddings.

    Raises:
        ConflictError: it has not ended.
        NotFoundError: it ended without a result.
    """
    if record.outcome is None:
        raise ConflictError(f"{record.id} has no result yet: it is {record.state.value}.")
    if not record.outcome.result:
        why = record.outcome.error or f"it is {record.state.value}"
        raise NotFoundError(f"{record.id} left no result: {why.rstrip('.')}.")
    match decode_result(record.outcome.result):
        case TextResult() as text:
            return _text(record, text)
        case VectorsResult() as vectors:
            data = embedding_shapes(vectors.data, vectors.width, base64)
            usage = EmbeddingUsage(vectors.prompt_tokens, vectors.prompt_tokens)
            return msgspec.json.encode(EmbeddingReply(data, _model(record), usage))
        case PythonDone() as done:
            return msgspec.json.encode(result_shape(done))
        case _:
            raise NotFoundError(f"{record.id} was a request of the OpenAI API: its answer was not kept.")


def _text(record: JobRecord, text: TextResult) -> bytes:
    answer = TextAnswer(
        id=record.id,
        created=int(record.finished_at or record.created_at),
        model=_model(record),
        fingerprint=_fingerprint(record),
        chat=record.kind is JobKind.CHAT,
        choices=1,
        prompts=1,
        include_usage=False,
        prompt_tokens=text.prompt_tokens,
        completion_tokens=text.completion_tokens,
    )
    return answer.whole([text.text], [[]], ["length" if text.finish_reason == "length" else "stop"])


def _model(record: JobRecord) -> str:
    task = record.task
    return record.label if task is None or isinstance(task, PythonTask) else task.model.name


def _fingerprint(record: JobRecord) -> str:
    task = record.task
    return "fp_" + task.model.digest[:12] if task is not None and not isinstance(task, PythonTask) else ""
