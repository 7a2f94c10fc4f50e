"""One answer on its way out: numbering, stop strings, the count of tokens and why it ended. Pure.

Promises: `seq` counts from 0 without gaps; every sampled token's id goes out exactly once, the end token's too, so
that the ids sent are `completion_tokens` in number; text follows the stop strings' rule. Of tokens that another
worker sent already (`replay`) nothing goes out, but all of this counts them.
"""

from typing import Literal

from gogrid.protocol.job_messages import Finished, Started, TextDone, TokenLogprob, Tokens
from gogrid.protocol.tasks import Sampling
from runner.executor.engines.stops import StopFilter


class Answer:
    """What one request has said so far."""

    def __init__(self, sampling: Sampling, prompt_tokens: int, limit: int) -> None:
        """
        Args:
            sampling: its stop strings are used.
            prompt_tokens: for the usage numbers.
            limit: the most tokens this answer may have, at least 1.
        """
        self._stops = StopFilter(sampling.stop)
        self._prompt_tokens, self._limit = prompt_tokens, limit
        self._seq = 0
        self.count = 0
        """Tokens so far."""
        self.ended: Literal["stop", "length"] | None = None

    def started(self, device: str) -> Started:
        return Started(device=device, prompt_tokens=self._prompt_tokens)

    def push(self, token_id: int, text: str, *, end: bool, logprob: TokenLogprob | None = None) -> Tokens:
        """Take one token; `ended` tells afterwards whether it was the last.

        Args:
            token_id: what was sampled.
            text: what it adds to the text; nothing while a character is incomplete, or for an end token.
            end: the model itself ends here.
            logprob: its entry, if asked for.
        """
        return self._tokens(self._take(text, end), (token_id,), () if logprob is None else (logprob,))

    def replay(self, text: str, *, end: bool) -> None:
        """Take one token that was sent already; what it holds back goes out when it is released."""
        self._take(text, end)

    def preface(self, text: str) -> Tokens:
        """Text that was not generated: the prompt, where the request wants it echoed."""
        return self._tokens(text, (), ())

    def finished(self) -> Finished:
        """Only once `ended` is set."""
        assert self.ended is not None, "an answer is finished after it has ended"  # noqa: S101
        return Finished(
            result=TextDone(finish_reason=self.ended, prompt_tokens=self._prompt_tokens, completion_tokens=self.count)
        )

    def _take(self, text: str, end: bool) -> str:
        """Count one token; what may go out now."""
        self.count += 1
        out = self._stops.feed(text)
        if end or self._stops.stopped():
            self.ended = "stop"
        elif self.count >= self._limit:
            self.ended = "length"
        return out + self._stops.finish() if self.ended else out

    def _tokens(self, text: str, ids: tuple[int, ...], logprobs: tuple[TokenLogprob, ...]) -> Tokens:
        tokens = Tokens(seq=self._seq, text=text, token_ids=ids, logprobs=logprobs)
        self._seq += 1
        return tokens
