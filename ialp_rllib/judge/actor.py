"""The judge behind a Ray actor, with the interface of a judge in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.catalogue import read_catalogue
from ialp_rllib.judge.engines import VLLM_ENVIRONMENT, engine_name
from ialp_rllib.judge.judge import Answers, local_judge
from ialp_rllib.judge.labels import label_tokens
from ialp_rllib.judge.models import load_tokenizer, resolve_model
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.settings import JudgeSettings


class AnyJudge(Protocol):
    """What distillation, audit and live pre-training need of a judge, near or far."""

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Answers:
        """See :meth:`ialp_rllib.judge.judge.Judge.answer`."""

    def info(self) -> dict[str, str]:
        """See :meth:`ialp_rllib.judge.judge.Judge.info`."""

    def close(self) -> None:
        """Give the model's memory back."""


class JudgeActor:
    """A judge for a Ray actor. A plain class: async actors do not run in Ray's local mode."""

    def __init__(self, judge: JudgeSettings, catalogue: str, model: str) -> None:
        self.judge = local_judge(judge, read_catalogue(Path(catalogue)), model)

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Answers:
        """See :meth:`ialp_rllib.judge.judge.Judge.answer`."""
        return self.judge.answer(history, candidates)

    def info(self) -> dict[str, str]:
        """See :meth:`ialp_rllib.judge.judge.Judge.info`."""
        return self.judge.info()

    def close(self) -> None:
        """Give the model's memory back."""
        self.judge.close()


class RemoteJudge:
    """Calls a :class:`JudgeActor` and waits for its answer.

    Attributes:
        handle: the actor, for callers that want several answers in flight: ``handle.answer.remote(...)``.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._info: dict[str, str] = runtime.get(handle.info.remote())

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Answers:
        """See :meth:`ialp_rllib.judge.judge.Judge.answer`."""
        return runtime.get(self.handle.answer.remote(history, candidates))

    def info(self) -> dict[str, str]:
        """See :meth:`ialp_rllib.judge.judge.Judge.info`."""
        return self._info

    def close(self) -> None:
        """Give the model's memory back and end the actor."""
        runtime.get(self.handle.close.remote())
        runtime.end(self.handle)


def start_judge(judge: JudgeSettings, catalogue: Path, model: str) -> RemoteJudge:
    """Start a judge in a Ray actor with the model loaded, and wait until it answers.

    Args:
        judge: its settings; ``cpus`` and ``gpus`` are the actor's.
        catalogue: folder that :func:`ialp_rllib.catalogue.write_catalogue` left; on a cluster, one that all nodes see.
        model: `tiny`, a folder, or a Hugging Face id; usually the merged model of the tuning.

    Raises:
        InputError: vLLM is asked for but missing; the model is not there; its labels are not single tokens.
    """
    engine_name(judge.engine)
    model = resolve_model(model)
    builder = PromptBuilder(read_catalogue(catalogue), judge)
    label_tokens(load_tokenizer(model), builder.stem, builder.labels, model)  # here a mistake has a plain message
    environment = {**VLLM_ENVIRONMENT, "OMP_NUM_THREADS": str(max(1, judge.cpus))}
    handle = runtime.service(
        JudgeActor, judge, str(catalogue), model, cpus=judge.cpus, gpus=judge.gpus, env=environment
    )
    return RemoteJudge(handle)
