"""The two engines that run the judge's LLM: transformers (plain, everywhere) and vLLM (fast, CPU or GPU).

Both answer the same question with the same numbers: given prompts, the log-probability of every label as the next
token. In float32 they agree on every label (`benchmarks/judge_agreement.py`). An engine knows texts and tokens, nothing
of items: it can stand on another machine, and its replies can be kept.
"""

from __future__ import annotations

import importlib.util
import logging

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.protocol import Engine
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)


def engine_name(choice: str) -> str:
    """``auto`` becomes ``vllm`` where it is installed, else ``transformers``.

    Raises:
        InputError: ``vllm`` is asked for, but not installed.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if choice == "vllm" and not installed:
        expected = "pip install 'ialp_rllib[cpu]' or '[gpu]', or judge.engine=transformers"
        raise InputError("judge.engine", "vllm is not installed", expected)
    return ("vllm" if installed else "transformers") if choice == "auto" else choice


def make_engine(judge: JudgeSettings, answers: LabelFormat, model: str) -> Engine:
    """The engine that ``judge.engine`` names, with ``model`` (a folder or a hub id) loaded."""
    kind = VllmEngine if engine_name(judge.engine) == "vllm" else TransformersEngine
    return kind(judge, answers, model)
