"""What every engine that writes text must do; run by `tests/unit/runner/executor_*_test.py` on each of them.

Subclass `TextEngineSuite`, name the class `Test…`, and give it fixtures `engine` (fresh or idle) and `device`.
"""

from collections.abc import Callable
from itertools import count

import pytest

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Started, TextDone, Tokens
from gogrid.protocol.tasks import ChatMessage, ChatTask, CompletionTask, EmbeddingTask, ModelRef, Sampling
from runner.errors import JobError
from runner.executor.engines.base import Engine

MODEL = ModelRef(name="model", digest=Sha256("0" * 64))
_numbers = count(1)


def chat(text: str, *, system: str = "", **sampling: object) -> ChatTask:
    messages = (ChatMessage(role="system", content=system),) if system else ()
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 12} | sampling)  # type: ignore[arg-type]
    return ChatTask(model=MODEL, messages=(*messages, ChatMessage(role="user", content=text)), sampling=settings)


def completion(prompt: str | tuple[int, ...], *, echo: bool = False, **sampling: object) -> CompletionTask:
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 12} | sampling)  # type: ignore[arg-type]
    return CompletionTask(model=MODEL, prompt=prompt, sampling=settings, echo=echo)


def submit(engine: Engine, task: ChatTask | CompletionTask | EmbeddingTask) -> int:
    number = next(_numbers)
    engine.submit(number, task)
    return number


def run(engine: Engine, until: Callable[[], bool] | None = None) -> dict[int, list[JobMessage]]:
    """Step until nothing is left, or `until` says so; what each request said."""
    said: dict[int, list[JobMessage]] = {}
    while engine.busy and not (until and until()):
        for item in engine.step():
            said.setdefault(item.request, []).append(item.message)
    return said


def ask(engine: Engine, *tasks: ChatTask | CompletionTask | EmbeddingTask) -> list[list[JobMessage]]:
    """What each task was answered when all run together."""
    numbers = [submit(engine, task) for task in tasks]
    said = run(engine)
    return [said[number] for number in numbers]


def text_of(messages: list[JobMessage]) -> str:
    return "".join(message.text for message in messages if isinstance(message, Tokens))


def ids_of(messages: list[JobMessage]) -> list[int]:
    return [token for message in messages if isinstance(message, Tokens) for token in message.token_ids]


def done_of(messages: list[JobMessage]) -> TextDone:
    last = messages[-1]
    assert isinstance(last, Finished), last
    assert isinstance(last.result, TextDone)
    return last.result


class TextEngineSuite:
    """See the module's docstring."""

    prompt = "Name three colours of the rainbow please"

    def test_answer_is_started_then_tokens_in_order_then_finished(self, engine: Engine) -> None:
        (said,) = ask(engine, chat(self.prompt))
        assert isinstance(said[0], Started)
        tokens = said[1:-1]
        assert all(isinstance(message, Tokens) for message in tokens)
        assert [message.seq for message in tokens if isinstance(message, Tokens)] == list(range(len(tokens)))
        assert done_of(said).completion_tokens >= 1
        assert not engine.busy

    def test_usage_counts_every_token_that_was_made(self, engine: Engine) -> None:
        said = ask(engine, chat(self.prompt), chat(self.prompt + " and say why", max_tokens=5))
        for messages in said:
            started = messages[0]
            assert isinstance(started, Started)
            assert done_of(messages).completion_tokens == len(ids_of(messages))
            assert done_of(messages).prompt_tokens == started.prompt_tokens > 0
        assert done_of(said[1]).prompt_tokens > done_of(said[0]).prompt_tokens

    def test_max_tokens_ends_with_length(self, engine: Engine) -> None:
        (said,) = ask(engine, chat(self.prompt, max_tokens=3))
        assert done_of(said).finish_reason == "length"
        assert done_of(said).completion_tokens == 3

    def test_two_requests_progress_in_one_step(self, engine: Engine) -> None:
        first, second = submit(engine, chat(self.prompt)), submit(engine, chat(self.prompt + " now"))
        together = False
        while engine.busy:
            numbers = [item.request for item in engine.step() if isinstance(item.message, Tokens)]
            together = together or (first in numbers and second in numbers)
        assert together

    def test_greedy_answer_is_the_same_again(self, engine: Engine) -> None:
        (once,), (again,) = ask(engine, chat(self.prompt)), ask(engine, chat(self.prompt))
        assert ids_of(once) == ids_of(again)

    def test_stop_string_ends_the_text_before_it(self, engine: Engine) -> None:
        (whole,) = ask(engine, chat(self.prompt))
        text = text_of(whole)
        stop = text[len(text) // 2 : len(text) // 2 + 4]
        (said,) = ask(engine, chat(self.prompt, stop=(stop, "never said")))
        assert text_of(said) == text[: text.index(stop)]
        assert done_of(said).finish_reason == "stop"

    def test_aborted_request_says_nothing_more_and_the_other_ends(self, engine: Engine) -> None:
        gone, stays = submit(engine, chat(self.prompt)), submit(engine, chat(self.prompt))
        engine.step()
        engine.abort(gone)
        said = run(engine)
        assert gone not in said
        assert done_of(said[stays]).completion_tokens >= 1
        engine.abort(gone)
        engine.abort(1 << 40)

    def test_abort_before_the_first_step_leaves_nothing(self, engine: Engine) -> None:
        engine.abort(submit(engine, chat(self.prompt)))
        assert not engine.busy

    def test_too_long_prompt_is_refused_with_numbers(self, engine: Engine) -> None:
        context = engine.ready().context_length
        with pytest.raises(JobError, match=str(context)) as refused:
            submit(engine, chat("word " * (context + 1)))
        assert refused.value.code is FailCode.CONTEXT_LENGTH
        assert refused.value.param == "messages"
        assert not engine.busy

    def test_refused_request_does_not_disturb_the_others(self, engine: Engine) -> None:
        (alone,) = ask(engine, chat(self.prompt))
        number = submit(engine, chat(self.prompt))
        engine.step()
        with pytest.raises(JobError):
            submit(engine, chat("word " * (engine.ready().context_length + 1)))
        said = run(engine)
        assert text_of(alone).endswith(text_of(said[number]))
        assert not any(isinstance(message, Failed) for message in said[number])

    def test_completion_echoes_its_prompt_when_asked(self, engine: Engine) -> None:
        (plain,), (echoed,) = (
            ask(engine, completion("One two three")),
            ask(engine, completion("One two three", echo=True)),
        )
        assert text_of(echoed) == "One two three" + text_of(plain)
        assert done_of(echoed) == done_of(plain)

    def test_logprobs_come_only_when_asked(self, engine: Engine) -> None:
        plain, asked = ask(engine, chat(self.prompt), chat(self.prompt, logprobs=0))
        assert not any(message.logprobs for message in plain if isinstance(message, Tokens))
        entries = [entry for message in asked if isinstance(message, Tokens) for entry in message.logprobs]
        assert entries
        assert all(entry.logprob <= 0 for entry in entries)

    def test_more_requests_than_slots_all_end(self, engine: Engine) -> None:
        said = ask(
            engine, *(chat(f"{self.prompt} {number}", max_tokens=2) for number in range(engine.ready().slots + 3))
        )
        assert all(done_of(messages).completion_tokens <= 2 for messages in said)
