"""Going on with an answer that another worker began: what every engine that writes text must do, at every cut.

Subclass `ResumeSuite`, name the class `Test…`, and give it fixtures `engine` (fresh or idle). The answers are short
and all cuts of one run together, so that the company of a resumed answer is tested too.
"""

from dataclasses import dataclass

import msgspec
import pytest

from gogrid.protocol.job_messages import FailCode, JobMessage, Started, TokenLogprob, Tokens
from gogrid.protocol.tasks import ChatTask, CompletionTask, Resume, ResumeMode
from runner.errors import JobError
from runner.executor.engines.base import Engine
from tests.conformance.engine_suite import ask, chat, completion, done_of, ids_of, run, submit, text_of

MODES = pytest.mark.parametrize("mode", ResumeMode, ids=lambda mode: mode.value)
CLOSE = 0.1
"""Log-probabilities: computed in one go they may differ by rounding."""


def resumed(task: ChatTask | CompletionTask, ids: list[int], mode: ResumeMode) -> ChatTask | CompletionTask:
    return msgspec.structs.replace(task, resume=Resume(token_ids=tuple(ids), mode=mode))


@dataclass(frozen=True)
class Piece:
    """What was said with one token."""

    token: int
    text: str
    logprobs: tuple[TokenLogprob, ...]


def pieces_of(messages: list[JobMessage]) -> list[Piece]:
    tokens = [message for message in messages if isinstance(message, Tokens) and message.token_ids]
    return [Piece(message.token_ids[0], message.text, message.logprobs) for message in tokens]


def check_every_cut(engine: Engine, task: ChatTask | CompletionTask, mode: ResumeMode) -> list[Piece]:
    """Cut the answer after each of its tokens and compare what comes then with what came; returns the whole answer."""
    (whole,) = ask(engine, task)
    pieces, ids = pieces_of(whole), ids_of(whole)
    assert [piece.token for piece in pieces] == ids
    rest = ask(engine, *(resumed(task, ids[:cut], mode) for cut in range(len(ids) + 1)))
    for cut, said in enumerate(rest):
        expected = pieces[cut:]
        assert isinstance(said[0], Started)
        assert said[0].prompt_tokens == done_of(whole).prompt_tokens
        assert ids_of(said) == ids[cut:], f"cut after {cut}"
        assert text_of(said) == "".join(piece.text for piece in expected), f"cut after {cut}"
        assert [message.seq for message in said if isinstance(message, Tokens)] == list(range(len(expected)))
        assert done_of(said) == done_of(whole)
        for mine, theirs in zip(pieces_of(said), expected, strict=True):
            assert [entry.token_id for entry in mine.logprobs] == [entry.token_id for entry in theirs.logprobs]
            for entry, other in zip(mine.logprobs, theirs.logprobs, strict=True):
                assert entry.logprob == pytest.approx(other.logprob, abs=CLOSE)
    return pieces


class ResumeSuite:
    """See the module's docstring."""

    prompt = "Name three colours of the rainbow please and say why they shine"

    @MODES
    def test_answer_goes_on_after_every_token(self, engine: Engine, mode: ResumeMode) -> None:
        assert len(check_every_cut(engine, chat(self.prompt, max_tokens=8, logprobs=1), mode)) == 8

    @MODES
    def test_seeded_answer_goes_on_as_it_would_have(self, engine: Engine, mode: ResumeMode) -> None:
        check_every_cut(engine, chat(self.prompt, max_tokens=8, temperature=1.0, seed=11, top_p=0.9), mode)

    @MODES
    def test_penalties_see_the_known_tokens(self, engine: Engine, mode: ResumeMode) -> None:
        check_every_cut(engine, completion("go go go go go go go go go go", max_tokens=6, presence_penalty=50.0), mode)

    @MODES
    def test_text_held_back_for_a_stop_string_comes_when_it_is_released(self, engine: Engine, mode: ResumeMode) -> None:
        plain = [piece.text for piece in pieces_of(ask(engine, chat(self.prompt, max_tokens=8))[0])]
        nearly, real = plain[1] + plain[2] + "\0", plain[5] + plain[6]
        task = chat(self.prompt, max_tokens=8, stop=(nearly, real))
        pieces = check_every_cut(engine, task, mode)
        assert pieces[1].text == pieces[2].text == ""
        assert pieces[3].text == "".join(plain[1:4])
        assert "".join(piece.text for piece in pieces) == "".join(plain[:5])

    @MODES
    def test_echoed_prompt_is_not_said_again(self, engine: Engine, mode: ResumeMode) -> None:
        check_every_cut(engine, completion("One two three four", echo=True, max_tokens=4), mode)
        (fresh,) = ask(engine, completion("One two three four", echo=True, max_tokens=4))
        assert text_of(fresh).startswith("One two three four")

    @MODES
    def test_more_than_max_tokens_is_an_end_for_length(self, engine: Engine, mode: ResumeMode) -> None:
        ids = ids_of(ask(engine, chat(self.prompt, max_tokens=6))[0])
        (said,) = ask(engine, resumed(chat(self.prompt, max_tokens=4), ids, mode))
        assert ids_of(said) == []
        assert (done_of(said).finish_reason, done_of(said).completion_tokens) == ("length", 4)
        assert not engine.busy

    @MODES
    def test_more_than_the_context_holds_is_refused_with_numbers(self, engine: Engine, mode: ResumeMode) -> None:
        context = engine.ready().context_length
        first = ids_of(ask(engine, chat(self.prompt, max_tokens=1))[0])
        with pytest.raises(JobError, match=str(context)) as refused:
            submit(engine, resumed(chat(self.prompt, max_tokens=0), first * context, mode))
        assert refused.value.code is FailCode.CONTEXT_LENGTH
        assert not engine.busy

    @MODES
    @pytest.mark.parametrize("wrong", [-1, 1 << 40])
    def test_tokens_that_there_are_not_are_refused(self, engine: Engine, mode: ResumeMode, wrong: int) -> None:
        stays = submit(engine, chat(self.prompt))
        with pytest.raises(JobError, match=str(wrong)) as refused:
            submit(engine, resumed(chat(self.prompt), [wrong], mode))
        assert (refused.value.code, refused.value.param) == (FailCode.BAD_REQUEST, "resume")
        assert done_of(run(engine)[stays])

    @MODES
    @pytest.mark.parametrize("cut", [2, 4], ids=["under way", "over already"])
    def test_aborted_before_it_went_on_it_says_nothing(self, engine: Engine, mode: ResumeMode, cut: int) -> None:
        task = chat(self.prompt, max_tokens=4)
        ids = ids_of(ask(engine, task)[0])
        number = submit(engine, resumed(task, ids[:cut], mode))
        engine.abort(number)
        assert not engine.busy
        assert run(engine) == {}
        assert engine.step() == ()
