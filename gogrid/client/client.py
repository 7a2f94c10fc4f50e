"""The public client: everything a person or a program may ask of a coordinator, typed.

Promises: a method returns a frozen typed value or raises a `ClientError`; streams end their request when they are
closed, which frees what it used on the grid. Not safe to share between threads.
"""

import os
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from gogrid.client.answers import (
    BulkReply,
    CatalogueModel,
    CatalogueModelList,
    ChatAnswer,
    ChatChunk,
    ChatPiece,
    ChatReply,
    ChatRequest,
    ChatTurn,
    EmbeddingReply,
    EmbeddingRequest,
    Job,
    JobList,
    Limits,
    LogPiece,
    Model,
    ModelJobRequest,
    ModelList,
    OutputFile,
    PythonRequest,
    Worker,
    WorkerList,
)
from gogrid.client.connection import Connection, decoded_event, encoded
from gogrid.client.errors import AnswerError, NoSuchJobError, UnreachableError
from gogrid.client.output import OutputFolder
from gogrid.client.profile import Profile, config_path, resolve_profile

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CUT_OFF = "The answer was cut off"
_ANSWER_S = 3600.0
"""An answer that is not streamed comes only when it is whole."""


class GoGrid:
    """One coordinator, one key."""

    def __init__(self, profile: Profile) -> None:
        self._connection = Connection(profile)

    @classmethod
    def from_login(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The coordinator of `gogrid login`, or of `GOGRID_URL` and `GOGRID_API_KEY`.

        Raises:
            ProfileError: there is no usable login.
        """
        given = os.environ if environment is None else environment
        return cls(resolve_profile(given, config_path(given, Path.home())))

    @property
    def url(self) -> str:
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- models and chat

    def models(self) -> tuple[Model, ...]:
        """The models that can be asked for."""
        return self._connection.call("GET", "/v1/models", ModelList).data

    def chat(
        self,
        model: str,
        messages: Iterable[ChatTurn],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: tuple[str, ...] | None = None,
        seed: int | None = None,
    ) -> ChatAnswer:
        """A whole answer; the parameters mean what they mean in OpenAI's API, None is the model's default."""
        request = ChatRequest(
            model=model,
            messages=tuple(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
        )
        reply = self._connection.call("POST", "/v1/chat/completions", ChatReply, body=request, timeout_s=_ANSWER_S)
        if not reply.choices:
            raise AnswerError("The coordinator answered without any choice.")
        return reply.answer()

    def chat_stream(
        self,
        model: str,
        messages: Iterable[ChatTurn],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: tuple[str, ...] | None = None,
        seed: int | None = None,
        waiting: Callable[[str], None] = lambda words: None,
    ) -> Generator[ChatPiece, None, None]:
        """The answer as it is made. Close the iterator to stop it.

        Args:
            waiting: told every few seconds how far the model is, or why no worker has the request, in words.

        Raises:
            AnswerError: the stream broke off before its end.
            UnreachableError: so did the connection; says that the answer was cut off if some of it had come.
        """
        request = ChatRequest(
            model=model,
            messages=tuple(messages),
            stream=True,
            stream_options={"include_usage": True},
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
        )
        with closing(
            self._connection.events(
                "POST", "/v1/chat/completions", body=request, timeout_s=_ANSWER_S, commented=waiting
            )
        ) as events:
            begun = False
            try:
                for event in events:
                    if event.data == "[DONE]":
                        return
                    begun = True
                    yield decoded_event(event, ChatChunk).piece()
            except UnreachableError as error:
                if begun:
                    raise UnreachableError(f"{_CUT_OFF}, for the connection to {self.url} broke: ask again.") from error
                raise
        raise AnswerError(f"{_CUT_OFF}: ask again.")

    def embed(self, model: str, texts: Iterable[str]) -> tuple[tuple[float, ...], ...]:
        """One vector for each text, of the model's width."""
        request = EmbeddingRequest(model=model, input=tuple(texts))
        reply = self._connection.call("POST", "/v1/embeddings", EmbeddingReply, body=request, timeout_s=_ANSWER_S)
        return tuple(entry.embedding for entry in sorted(reply.data, key=lambda entry: entry.index))

    # --- Python jobs

    def submit_python(
        self,
        files: Mapping[str, bytes],
        entry: str,
        *,
        arguments: Iterable[str] = (),
        limits: Limits = Limits(),  # noqa: B008  # frozen
        gpu: bool = False,
        label: str = "",
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> Job:
        """Hand in a Python job; it is safe from then on, whatever dies.

        Args:
            files: by relative path; `entry` names the one to run.
            gpu: only on a worker that lends its GPU to scripts.
            priority: -100 to 100, higher first; above 0 needs an admin's key.
            idempotency_key: the same key and content give the same job, so that a lost answer can be asked for again.
        """
        request = PythonRequest(
            entry=entry, arguments=tuple(arguments), limits=limits, gpu=gpu, label=label, priority=priority
        )
        return self.submit_script(files, request, idempotency_key=idempotency_key)

    def submit_script(
        self, files: Mapping[str, bytes], request: PythonRequest, *, idempotency_key: str | None = None
    ) -> Job:
        """`submit_python`, with all that is asked for in one value."""
        headers = {"idempotency-key": idempotency_key or secrets.token_hex(16)}
        return self._connection.upload("/api/v1/jobs", Job, job=request, files=files, headers=headers)

    def submit_request(self, job: ModelJobRequest, *, idempotency_key: str | None = None) -> Job:
        """Hand in a request for a model as a job; its answer is kept until it is asked for (`result`)."""
        headers = {"idempotency-key": idempotency_key or secrets.token_hex(16)}
        return self._connection.call("POST", "/api/v1/jobs", Job, body=job, headers=headers)

    def submit_many(self, jobs: Iterable[object], *, idempotency_key: str | None = None) -> tuple[str, ...]:
        """Hand in up to 10,000 jobs at once, all or none; their ids in order.

        Args:
            jobs: each a `ModelJobRequest`, or whatever else becomes the JSON of a job, such as `{"code": "print(1)"}`.
            idempotency_key: for the whole: the same key and jobs give the same ids.
        """
        lines = b"\n".join(encoded(job) for job in jobs)
        headers = {
            "content-type": "application/jsonl",
            "idempotency-key": idempotency_key or secrets.token_hex(16),
        }
        path = "/api/v1/jobs/bulk"
        reply = self._connection.call("POST", path, BulkReply, content=lines, headers=headers, timeout_s=_ANSWER_S)
        return reply.ids

    def job(self, job_id: str) -> Job:
        """One job with its history; its id may be shortened to a beginning that is unique among your jobs."""
        return self._connection.call("GET", _job_path(job_id), Job)

    def jobs(
        self, *, limit: int = 50, states: Iterable[str] = (), every_kind: bool = False, after: str = ""
    ) -> tuple[Job, ...]:
        """Newest first; your own, or everybody's for an admin's key; Python jobs only unless `every_kind`.

        Args:
            after: the id of the last job of the page before.
        """
        params = (("limit", str(limit)), ("state", ",".join(states)), ("kind", "all" if every_kind else "python"))
        page = (*params, ("after", after)) if after else params
        return self._connection.call("GET", "/api/v1/jobs", JobList, params=page).data

    def requeue(self, job_id: str) -> Job:
        """Try a job again that is dead or has failed."""
        return self._connection.call("POST", f"{_job_path(job_id)}/requeue", Job)

    def text(self, job_id: str) -> ChatAnswer:
        """The answer of a chat or completion job that is done."""
        reply = self._connection.call("GET", f"{_job_path(job_id)}/result", ChatReply)
        if not reply.choices:
            raise AnswerError("The coordinator answered without any choice.")
        return reply.answer()

    def vectors(self, job_id: str) -> tuple[tuple[float, ...], ...]:
        """What an embedding job that is done gave, one vector for each text."""
        reply = self._connection.call("GET", f"{_job_path(job_id)}/result", EmbeddingReply)
        return tuple(entry.embedding for entry in sorted(reply.data, key=lambda entry: entry.index))

    def cancel(self, job_id: str) -> Job:
        """Stop a job; one that has ended stays as it is."""
        return self._connection.call("DELETE", _job_path(job_id), Job)

    def logs(self, job_id: str, *, after: int = 0, follow: bool = True) -> Generator[LogPiece | Job, None, None]:
        """What a script wrote, piece by piece from the one behind `after` on; the ended job last.

        With `follow` false only what is there already, and the job as it is.
        """
        params = (("after", str(after)), ("follow", "true" if follow else "false"))
        with closing(self._connection.events("GET", f"{_job_path(job_id)}/logs", params=params)) as events:
            for event in events:
                if event.kind == "log":
                    yield decoded_event(event, LogPiece)
                elif event.kind == "job":
                    yield decoded_event(event, Job)
                    return
        raise AnswerError("The log stream broke off before its end.")

    def output(self, job_id: str, file: OutputFile) -> Generator[bytes, None, None]:
        """The bytes of an output file, unchecked; `gogrid.client.output` stores them safely."""
        return self._connection.content(f"{_job_path(job_id)}/files/{quote(file.name)}")

    def download(self, job: Job, folder: Path) -> tuple[Path, ...]:
        """Store all output files of a job below `folder`; names that could leave it are refused.

        Raises:
            OutputError: a file cannot be stored safely; those before it are there.
        """
        place = OutputFolder(folder)
        files = job.result.files if job.result else ()
        return tuple(
            place.store(file.name, self.output(job.id, file), size=file.size, sha256=file.sha256) for file in files
        )

    # --- the grid

    def workers(self) -> tuple[Worker, ...]:
        return self._connection.call("GET", "/api/v1/workers", WorkerList).data

    def catalogue(self) -> tuple[CatalogueModel, ...]:
        """The models with their sizes, and where they are loaded."""
        return self._connection.call("GET", "/api/v1/models", CatalogueModelList).data


def _job_path(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise NoSuchJobError(f"{job_id!r} is not a job's id; `gogrid jobs` shows them.")
    return f"/api/v1/jobs/{quote(job_id, safe='')}"
