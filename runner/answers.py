"""What a running worker answers on its local socket: one `Ask` in, one `Answer` out, and the deed in between.

Promises: every question has an answer; a deed that cannot be done is `Refused` in words, and then nothing has changed.
"""

import time
from collections.abc import Callable

from runner.control_messages import (
    Answer,
    Ask,
    AskChange,
    AskModels,
    AskPause,
    AskPrune,
    AskReload,
    AskResume,
    AskSettings,
    AskStatistics,
    AskStatus,
    AskTest,
    Done,
    Refused,
    TestShown,
    WorkerStatus,
)
from runner.first_test import FirstTest
from runner.live_settings import LiveSettings
from runner.models.cache import ModelCache
from runner.models.shown import models_shown
from runner.owner import Owner
from runner.statistics.recorder import Recorder
from runner.work import Work


class Answers:
    def __init__(
        self,
        work: Work,
        cache: ModelCache,
        owner: Owner,
        settings: LiveSettings,
        recorder: Recorder,
        first_test: FirstTest | None,
        *,
        problem: str,
        status: Callable[[], WorkerStatus],
    ) -> None:
        """`first_test` is None where no sandbox works; then `problem` says why, in words."""
        self._work, self._cache, self._owner, self._settings = work, cache, owner, settings
        self._recorder, self._first_test, self._problem, self._status = recorder, first_test, problem, status

    async def answer(self, question: Ask) -> Answer:
        match question:
            case AskStatus():
                return self._status()
            case AskStatistics():
                return self._recorder.statistics(question.span)
            case AskTest():
                return self._test(begin=question.begin)
            case AskPause():
                if self._first_test is not None:
                    self._first_test.stop("It was ended by a pause.")
                return self._owner.pause(question.reason, finish=question.finish, until=question.until)
            case AskResume():
                return self._owner.resume()
            case AskSettings():
                return await self._settings.shown()
            case AskChange():
                return await self._settings.change(question.setting, question.value)
            case AskModels():
                return models_shown(self._cache.models(), self._work.names)
            case AskPrune():
                gone = self._cache.prune(time.time() - question.unused_s)
                return models_shown(gone, self._work.names)
            case AskReload():
                if reason := await self._settings.reload():
                    return Refused(reason=reason)
        return Done()

    def _test(self, *, begin: bool) -> TestShown | Refused:
        if self._first_test is None:
            return Refused(reason=f"This machine cannot work yet: {self._problem}")
        if begin:
            self._first_test.begin()
        return self._first_test.shown
