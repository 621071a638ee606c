"""Construction of the inference engine: transformers (runs everywhere) or vLLM (faster, CPU or GPU).

Both compute the log-probability of every label as the next token of a prompt. In float32 they agree on the most
probable label of every prompt (`benchmarks/judge_agreement.py`). An engine knows texts and tokens only, nothing about
items, so that it can run on another machine and its outputs can be cached.
"""

from __future__ import annotations

import importlib.util
import logging

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import Engine
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.engines.warm_up import EngineError
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.settings import LETTER, JudgeSettings

log = logging.getLogger(__name__)


def engine_name(judge: JudgeSettings) -> str:
    """Resolve ``auto``: ``vllm`` if it is installed and the judge is asked for letters, else ``transformers``.

    In other forms a query has k continuations of one history, which transformers scores side by side (:mod:`.packing`)
    and vLLM as k prompts: with the tiny judge transformers was 2.5 times as fast (likelihood) and 1.5 times (yes_no).

    Raises:
        InputError: ``judge.engine`` is ``vllm``, which is not installed.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if judge.engine == "vllm" and not installed:
        expected = "pip install 'ialp_rllib[cpu]' or '[gpu]', or judge.engine=transformers"
        raise InputError("judge.engine", "vllm is not installed", expected)
    if judge.engine != "auto":
        return judge.engine
    return "vllm" if installed and judge.answer == LETTER else "transformers"


def make_engine(judge: JudgeSettings, answers: LabelFormat, model: str) -> Engine:
    """The engine selected by ``judge.engine``, with the model loaded.

    With ``auto``, the transformers engine takes over a model that vLLM cannot run.

    Args:
        judge: the judge's settings.
        answers: answer stem and labels.
        model: a name as `judge.model` has it. What must be converted is, in the cache of the machine that runs this.

    Raises:
        InputError: the engine is not installed, the model cannot be loaded or run, or its tokenizer splits a label into
            several tokens.
    """
    engine, model = engine_name(judge), resolve_model(model)
    if engine == "transformers":
        return TransformersEngine(judge, answers, model)
    try:
        return VllmEngine(judge, answers, model)
    except EngineError as error:
        if judge.engine == "vllm":
            raise
        log.warning("%s: using the transformers engine instead", error.problem)
    return TransformersEngine(judge, answers, model)
