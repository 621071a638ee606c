"""The two engines that run the judge's LLM: transformers (plain, everywhere) and vLLM (fast, CPU or GPU).

Both answer the same question with the same numbers: given prompts, the log-probability of every label as the next
token. In float32 they agree on every label (`benchmarks/judge_agreement.py`). An engine knows texts and tokens, nothing
of items: it can stand on another machine, and its replies can be kept.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_config, load_model, load_tokenizer, model_fingerprint
from ialp_rllib.judge.engines.protocol import Engine, Replies
from ialp_rllib.judge.prompt.labels import Answering, label_tokens
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

# vLLM reads these when it is imported. Its engine must live in this process (actors, local mode, debuggers); on CPU it
# would otherwise ask for most of the memory and pin its threads to cores that another actor pinned, too.
VLLM_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


# Tokens computed at a time where the settings name none. On a CPU, what fits its caches is up to a quarter faster.
_TOKENS_CPU, _TOKENS_GPU = 2048, 8192


def token_budget(judge: JudgeSettings) -> int:
    """Tokens that an engine computes at a time."""
    return judge.batch_tokens or (_TOKENS_GPU if judge.gpus > 0 else _TOKENS_CPU)


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


def make_engine(judge: JudgeSettings, answers: Answering, model: str) -> Engine:
    """The engine that ``judge.engine`` names, with ``model`` (a folder or a hub id) loaded."""
    kind = VllmEngine if engine_name(judge.engine) == "vllm" else TransformersEngine
    return kind(judge, answers, model)


class PromptTokens:
    """A model's tokenizer, its label tokens and its longest prompt: what both engines share."""

    def __init__(self, judge: JudgeSettings, answers: Answering, model: str) -> None:
        self.tokenizer = load_tokenizer(model)
        self.labels = label_tokens(self.tokenizer, answers.stem, answers.labels, model)
        longest = getattr(load_config(model), "max_position_embeddings", None) or judge.max_length + 1
        self.longest = min(judge.max_length, longest - 1)  # the answer needs a place, too

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Token ids of the prompts, however long: see :meth:`refusal`."""
        ids: list[list[int]] = self.tokenizer(prompts)["input_ids"]
        return ids

    def refusal(self, ids: list[int]) -> str:
        """Why a prompt cannot be asked, or empty."""
        if len(ids) <= self.longest:
            return ""
        return f"{len(ids)} tokens, at most {self.longest} fit: raise judge.max_length, or lower judge.history"

    def sort_out(self, prompts: list[str]) -> tuple[dict[int, list[int]], dict[int, str]]:
        """Row -> token ids of the prompts that can be asked, and row -> why of the others."""
        ids = dict(enumerate(self.encode(prompts)))
        refused = {row: why for row, tokens in ids.items() if (why := self.refusal(tokens))}
        return {row: tokens for row, tokens in ids.items() if row not in refused}, refused

    def pad(self, ids: list[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
        """Prompts padded on the left: ``input_ids``, ``attention_mask`` and ``position_ids``, all ``(B, S)``."""
        width = max(map(len, ids))
        padded = torch.full((len(ids), width), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for i, row in enumerate(ids):
            padded[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        inputs = {"input_ids": padded, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return {name: tensor.to(device) for name, tensor in inputs.items()}


class TransformersEngine:
    """Runs the model with plain transformers.

    Args:
        judge: ``dtype``, ``batch``, ``batch_tokens``, ``max_length`` and ``gpus`` are read.
        answers: labels and answer stem.
        model: a folder or a Hugging Face id.

    Raises:
        InputError: the model cannot be loaded, or its tokenizer does not make one token of each label.
    """

    def __init__(self, judge: JudgeSettings, answers: Answering, model: str) -> None:
        self.tokens = PromptTokens(judge, answers, model)
        device = "cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu"
        self.model = load_model(model, judge.dtype).to(device)
        self.rows, self.budget = judge.batch, token_budget(judge)
        self.fingerprint = model_fingerprint(model)
        self._turn = threading.Lock()

    def ask(self, prompts: list[str]) -> Replies:
        """See :class:`Engine`. Prompts of similar length share a batch, padded on the left."""
        ids, refused = self.tokens.sort_out(prompts)
        result = np.full((len(prompts), len(self.tokens.labels)), np.nan, np.float32)
        for rows in self._batches({row: len(tokens) for row, tokens in ids.items()}):
            inputs = self.tokens.pad([ids[r] for r in rows], self.model.device)
            with self._turn, torch.inference_mode():
                logits = self.model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1, self.tokens.labels]
                result[rows] = torch.log_softmax(logits.float(), 1).cpu().numpy()
        return Replies(result, refused, sum(map(len, ids.values())))

    def _batches(self, lengths: dict[int, int]) -> Iterator[list[int]]:
        """Rows by length, as many at a time as the budget of (padded) tokens and of rows allows."""
        batch: list[int] = []
        for row in sorted(lengths, key=lengths.__getitem__):
            if batch and (len(batch) == self.rows or (len(batch) + 1) * lengths[row] > self.budget):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def close(self) -> None:
        """See :class:`Engine`."""
        self.model = None
        gc.collect()


class VllmEngine:
    """Runs the model with vLLM in this process, on the CPU (`vllm-cpu`) or a GPU (`vllm`).

    Arguments and errors as :class:`TransformersEngine`; ``memory_share`` and ``tensor_parallel`` are read as well.
    """

    def __init__(self, judge: JudgeSettings, answers: Answering, model: str) -> None:
        for name, value in VLLM_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm

        self.tokens = PromptTokens(judge, answers, model)
        count = len(self.tokens.labels)
        try:
            # enforce_eager leaves some small functions of the sampler to torch.compile: 20-60 s at the first prompt.
            torch.compiler.set_stance("force_eager")
            self.llm: Any = vllm.LLM(
                model=model,
                dtype=judge.dtype,  # type: ignore[arg-type]  # its choices are checked in the settings
                max_model_len=self.tokens.longest + 1,
                max_num_seqs=judge.batch,
                max_num_batched_tokens=max(token_budget(judge), self.tokens.longest + 1),
                tensor_parallel_size=judge.tensor_parallel,
                gpu_memory_utilization=judge.memory_share,
                block_size=32,  # the CPU default of 128 never matches a shared beginning of 100 tokens
                enable_prefix_caching=True,
                enforce_eager=True,
                distributed_executor_backend="uni" if judge.tensor_parallel == 1 else "mp",
                max_logprobs=count,
                # Otherwise the log-probabilities are those of the whole vocabulary, and few of them are labels.
                logprobs_mode="processed_logprobs",
                disable_log_stats=True,
                use_tqdm_on_load=False,
                seed=0,
            )
        except (OSError, ValueError) as error:
            expected = "a causal language model that vLLM serves, and memory for it (judge.memory_share)"
            problem = f"vLLM cannot serve it ({str(error).strip().splitlines()[0]})"
            raise InputError(f"judge.model {model}", problem, expected) from error
        self.sampling = vllm.SamplingParams(
            max_tokens=1, temperature=0.0, allowed_token_ids=self.tokens.labels, logprobs=count, detokenize=False
        )
        self.fingerprint = model_fingerprint(model)
        self._turn = threading.Lock()

    def ask(self, prompts: list[str]) -> Replies:
        """See :class:`Engine`."""
        ids, refused = self.tokens.sort_out(prompts)
        rows = sorted(ids, key=ids.__getitem__)  # those that begin alike follow each other: one finds the other cached
        result = np.full((len(prompts), len(self.tokens.labels)), np.nan, np.float32)
        if rows:
            asked = [{"prompt_token_ids": ids[row]} for row in rows]
            with self._turn:
                # What is cached decides how prompts are cut into batches, and so the last bits of sums: start anew.
                self.llm.reset_prefix_cache()
                replies = self.llm.generate(asked, self.sampling, use_tqdm=False)
            for row, reply in zip(rows, replies, strict=True):
                given = reply.outputs[0].logprobs[0]
                result[row] = [given[t].logprob if t in given else -np.inf for t in self.tokens.labels]
        return Replies(result, refused, sum(map(len, ids.values())))

    def close(self) -> None:
        """See :class:`Engine`."""
        torch.compiler.set_stance("default")
        self.llm.llm_engine.engine_core.shutdown()
        self.llm = None
        gc.collect()
