"""The Ray actor that hosts one inference engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ialp_rllib import runtime
from ialp_rllib.errors import IalpError
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.protocol import Engine, EngineOutput, EngineUsage, engine_info
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.judge.prompt.packed import Prompt
from ialp_rllib.settings import JudgeSettings


class EngineActor:
    """An engine with usage counters. A plain class: Ray's local mode does not run async actors.

    Args:
        judge: the judge's settings.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.
    """

    def __init__(self, judge: JudgeSettings, answers: AnswerFormat, model: str) -> None:
        self._refusal: IalpError | None = None
        if judge.gpus:
            runtime.limit_memory(judge.gpus)  # learners may have the rest
        try:
            self.engine: Engine = make_engine(judge, answers, model)
        except IalpError as error:  # Ray would wrap what a constructor raises into a traceback; info() raises it
            self._refusal = error
        self._lock = threading.Lock()
        self._prompts = self._tokens = self._active_calls = 0
        self._busy_seconds = self._changed_at = 0.0

    def ask(self, prompts: Sequence[Prompt], form: str = "") -> EngineOutput:
        """See :meth:`ialp_rllib.judge.engines.protocol.Engine.ask`. May run in several threads at once."""
        self._add_active(1)
        try:
            output = self.engine.ask(prompts, *([form] if form else []))
        finally:
            self._add_active(-1)
        with self._lock:
            self._prompts, self._tokens = self._prompts + len(prompts), self._tokens + output.tokens
        return output

    def _add_active(self, change: int) -> None:
        """Update the number of active calls. The engine is busy while it is positive."""
        with self._lock:
            if self._active_calls:
                self._busy_seconds += time.perf_counter() - self._changed_at
            self._changed_at = time.perf_counter()
            self._active_calls += change

    def info(self) -> dict[str, str]:
        """See :meth:`.EngineClient.info`. Returns once the model is loaded.

        Raises:
            InputError: the model could not be loaded.
        """
        if self._refusal is not None:
            raise self._refusal
        return engine_info(self.engine)

    def usage(self) -> EngineUsage:
        """Usage since this process was started."""
        return EngineUsage(self._prompts, self._tokens, self._busy_seconds)

    def close(self) -> None:
        """Free the model's memory."""
        self.engine.close()
