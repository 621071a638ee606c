"""What a case is: how its model is made, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ialp_rllib.judge.engines.models import resolve_model

Reference = Callable[[Path], tuple[Any, Any]]
"""The folder of the case -> model and tokenizer, loaded with plain transformers."""


def plain(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer of a folder that needs no treatment."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def tokenizer() -> Any:
    """The packaged judge's tokenizer: byte-level BPE, begins every text with ``<s>``."""
    return AutoTokenizer.from_pretrained(resolve_model("tiny"))


@dataclass(frozen=True)
class Case:
    """One checkpoint.

    Attributes:
        name: of the case.
        make: writes it into an empty folder and returns the value for `judge.model`.
        reference: loads what is meant with plain transformers; None: the checkpoint must be refused.
        vllm: whether vLLM is asked, too; a checkpoint that must be refused is always tried.
        vllm_tolerance: largest error of a probability in vLLM.
        text: the prompt as it is tokenised, if that is not the prompt itself; it has all special tokens then.
    """

    name: str
    make: Callable[[Path], Path]
    reference: Reference | None = plain
    vllm: bool = False
    vllm_tolerance: float = 1e-4
    text: Callable[[str], str] | None = None
