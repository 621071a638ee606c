"""Prompts per second of the answer forms ``likelihood`` and ``yes_no`` against ``letter``, on the same model and items.

Usage: ``python benchmarks/likelihood_speed.py [--model FOLDER] [--layers 30] [--prompts 8] [--rounds 3] [--gpu]
[--dtype bfloat16] [--chat]``

Without ``--model``: a Llama of SmolLM2-135M's shape with random weights and the tiny judge's tokenizer. Items are lists
of random words; 10 candidates, 10 items of history. In every round each form answers the same queries once with the
transformers engine; printed are medians over the rounds (of CPU time, on a GPU of elapsed time), the ratio to
``letter`` round by round (median), tokens per prompt, and the largest difference of the packed scores from those of
each continuation alone (``--check`` queries).
``likelihood`` is timed as in the middle of a run, when the texts alone are known; what these cost (``alone``) is
printed, too, per query; ``two orders`` are the letters, each query in two cyclic orders of its candidates.

Every form is answered with the beginning that its prompts share computed once, and (``apart``) for every prompt.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import answer_format
from ialp_rllib.judge.prompt.lines import LineBuilder, QuestionBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery, Prompt
from ialp_rllib.settings import AUTO, JudgeSettings

WORDS = re.findall(
    r"\w+",
    "blue steel drill bit set glove box tape label printer filter cable switch valve pump seal brush lamp clamp gauge "
    "wheel caster bearing sensor holder tray bag",
)
ITEMS = 400


def write_model(folder: Path, layers: int) -> None:
    """A Llama of SmolLM2's width with random weights."""
    shape: dict[str, Any] = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9}
    config = LlamaConfig(
        vocab_size=49_152,
        num_hidden_layers=layers,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        **shape,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in Path(resolve_model("tiny")).glob("tokenizer*"):
        shutil.copy(file, folder)


def queries(settings: JudgeSettings, count: int) -> dict[str, list[Prompt]]:
    """The same queries in each form; and under ``alone`` the candidates without history."""
    rng = np.random.default_rng(0)
    titles = np.array([" ".join(rng.choice(WORDS, rng.integers(4, 10))) for _ in range(ITEMS)], object)
    catalogue: Any = SimpleNamespace(item_texts={"title": titles}, item_ids=titles, pad=ITEMS)
    history = rng.integers(0, ITEMS, (count, settings.history))
    candidates = np.stack([rng.choice(ITEMS, settings.candidates, replace=False) for _ in range(count)])
    lines, builder = LineBuilder(catalogue, settings), PromptBuilder(catalogue, settings)
    orders = np.stack([candidates, np.roll(candidates, settings.candidates // 2, 1)], 1)
    return {
        "letter": list(builder.build(history, candidates)),
        "two orders": list(builder.build(np.repeat(history, 2, 0), orders.reshape(-1, settings.candidates))),
        "likelihood": list(lines.build(history, candidates)),
        "yes_no": list(QuestionBuilder(catalogue, settings).build(history, candidates)),
        "alone": list(lines.alone(np.unique(candidates))),
    }


def largest_difference(engine: TransformersEngine, packed: list[Prompt]) -> float:
    """Of the packed scores from those of each continuation alone, in a batch of its own."""
    largest = 0.0
    for query in packed:
        assert isinstance(query, PackedQuery)
        together = engine.ask([query]).logprobs[0].reshape(len(query.continuations), -1)
        for text, scores in zip(query.continuations, together, strict=True):
            alone = engine.ask([query._replace(continuations=(text,))]).logprobs[0]
            largest = max(largest, float(np.abs(alone - scores).max()))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--chat", action="store_true", help="in the model's chat template")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = JudgeSettings(
        answer=AUTO,
        max_length=2000,
        gpus=float(arguments.gpu),
        dtype=arguments.dtype,
        chat_template="on" if arguments.chat else "off",
    )
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.model:
            write_model(Path(folder), arguments.layers)
        engine = TransformersEngine(
            settings, answer_format(settings.candidates), resolve_model(arguments.model or folder)
        )
    parameters = sum(p.numel() for p in engine.model.parameters()) / 1e6
    device = torch.cuda.get_device_name() if arguments.gpu else f"CPU, {arguments.threads} thread(s)"
    how = ("side by side" if engine.packed.together else "one by one") + (", shared" if engine.packed.shares else "")
    print(f"{arguments.model or 'random Llama'}, {parameters:.0f} M parameters, {arguments.dtype}, {device}, {how}")
    asked = queries(settings, arguments.prompts)
    asked["yes_no"] = _with_known_answers(engine, asked["yes_no"])
    shares = (True, False) if engine.packed.shares else (False,)
    for prompts in asked.values():
        engine.ask(prompts[:2])
    seconds: dict[tuple[str, bool], list[float]] = {(form, shared): [] for form in asked for shared in shares}
    outputs: dict[tuple[str, bool], EngineOutput] = {}
    clock = time.perf_counter if arguments.gpu else time.process_time  # others may use the same CPU
    for _ in range(arguments.rounds):
        for form, shared in seconds:
            engine.packed.shares = shared
            start = clock()
            outputs[form, shared] = engine.ask(asked[form])
            if arguments.gpu:
                torch.cuda.synchronize()
            seconds[form, shared].append(clock() - start)
            assert not outputs[form, shared].refused, outputs[form, shared].refused
    print(
        f"{'form':>12} {'beginning':>10} {'prompts/s':>10} {'to letter':>10} {'to apart':>9} {'tokens':>7} difference"
    )
    for (form, shared), times in seconds.items():
        count, found, apart = len(asked[form]), outputs[form, shared], outputs[form, False]
        to_letter = np.median(np.array(seconds["letter", shared]) / times) * count / arguments.prompts
        to_apart = np.median(np.array(seconds[form, False]) / times)
        worst = np.abs(found.logprobs - apart.logprobs).max()
        print(
            f"{form:>12} {'shared' if shared else 'apart':>10} {count / np.median(times):10.2f} {to_letter:10.2f} "
            f"{to_apart:9.2f} {found.tokens / count:7.0f} {worst:10.1e}"
        )
    engine.packed.shares = shares[0]
    for form in ("likelihood", "yes_no"):
        worst = largest_difference(engine, asked[form][: arguments.check])
        print(f"{form}: largest difference from one by one {worst:.1e} ({arguments.check} queries)")


def _with_known_answers(engine: TransformersEngine, prompts: list[Prompt]) -> list[Prompt]:
    """With labels a and b where the tokenizer splits yes or no: it takes the same time."""
    first = prompts[0]
    assert isinstance(first, PackedQuery)
    try:
        engine.prompt_tokenizer.answer_ids(first)
    except InputError:
        return [prompt._replace(answers=(" a", " b")) for prompt in prompts if isinstance(prompt, PackedQuery)]
    return prompts


if __name__ == "__main__":
    main()
