"""Throughput of a judge of the size of Mistral 7B on one GPU, with random weights (which do not affect the speed).

Usage: ``python benchmarks/judge_gpu.py [--shape 7b|small] [--tokens 350] [--shared 0] [--batches 8 16 32 ...]
[--seconds 10]``

Builds a ``MistralForCausalLM`` with random weights in bfloat16 and the tiny judge's tokenizer, and answers synthetic
prompts of about ``--tokens`` tokens, of which the first ``--shared`` are the same in all, with the transformers engine:
once by reading the labels' log-probabilities at the last position (as the judge does; what is shared is computed once),
once with ``generate()`` of one token. Prints prompts/s, tokens/s of the prompts as they are, the fraction of ``--peak``
FLOP/s (2 FLOP per parameter and such a token, without attention) and the peak memory of the GPU. ``--shape small`` is
for a test run on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import MistralConfig, MistralForCausalLM

from ialp_rllib.judge.engines.models import load_tokenizer, resolve_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.settings import JudgeSettings

SHAPES: dict[str, dict[str, Any]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "small": {
        "hidden_size": 128,
        "intermediate_size": 448,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
VOCABULARY = 32_768  # Mistral 7B v0.3's
ANSWERS = AnswerFormat(" k. None\n### Response\nAnswer:", [f" {letter}" for letter in "abcdefghijk"])


def write_model(shape: str, folder: Path) -> None:
    """A model folder with random weights."""
    config = MistralConfig(vocab_size=VOCABULARY, max_position_embeddings=4096, sliding_window=None, **SHAPES[shape])
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.bfloat16)
        model = MistralForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    load_tokenizer(resolve_model("tiny")).save_pretrained(folder)


def prompts_of(engine: TransformersEngine, tokens: int, shared: int, count: int) -> list[str]:
    """``count`` prompts of at most ``tokens`` tokens, and a few less, of which the first ``shared`` are equal."""
    word = " (Blue, Ada)"
    each = len(engine.prompt_tokenizer.encode([word * 10])[0]) / 10
    before, behind = word * int(shared / each), word * int((tokens - shared - 20) / each)
    return [f"{before}{n} {behind}{ANSWERS.stem}" for n in range(count)]


def rate(ask: Callable[[], Any], seconds: float) -> float:
    """Calls per second, measured for ``seconds`` after a warm-up call."""
    ask()
    synchronise()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        ask()
        synchronise()
        calls += 1
    return calls / (time.perf_counter() - start)


def synchronise() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=tuple(SHAPES), default="7b")
    parser.add_argument("--tokens", type=int, default=350)
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of the GPU in bfloat16, dense (H200: 989)")
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()
    print(torch.cuda.get_device_name() if gpu else "CPU", f"torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        write_model(arguments.shape, Path(folder))
        settings = JudgeSettings(dtype="bfloat16", gpus=float(gpu), batch=max(arguments.batches), batch_tokens=1 << 20)
        engine = TransformersEngine(settings, ANSWERS, folder)
    parameters = sum(p.numel() for p in engine.model.parameters())
    print(f"{parameters / 1e9:.2f} billion parameters, bfloat16")
    print(f"{'batch':>6} {'mode':>10} {'prompts/s':>10} {'tokens/s':>10} {'of peak':>8} {'memory GiB':>11}")
    for batch in arguments.batches:
        prompts = prompts_of(engine, arguments.tokens, arguments.shared, batch)
        ids = engine.prompt_tokenizer.encode(prompts)
        tokens = sum(map(len, ids))

        def generate(ids: Any = ids) -> None:
            inputs = engine.prompt_tokenizer.pad(ids, engine.model.device)
            engine.model.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=0)

        def labels(prompts: list[str] = prompts) -> None:
            engine.ask(prompts)

        modes: dict[str, Callable[[], Any]] = {"labels": labels, "generate": generate}
        for mode, ask in modes.items():
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            with torch.inference_mode():
                calls = rate(ask, arguments.seconds)
            utilisation = 2 * parameters * tokens * calls / (arguments.peak * 1e12)
            memory = torch.cuda.max_memory_allocated() / 2**30 if gpu else float("nan")
            print(
                f"{batch:6} {mode:>10} {batch * calls:10.1f} {tokens * calls:10.0f} {utilisation:8.1%} {memory:11.1f}"
            )


if __name__ == "__main__":
    main()
