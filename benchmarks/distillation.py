"""Throughput of distillation, end to end, compared with the bare engine, transformers, and cached answers.

Usage: ``python benchmarks/distillation.py [--sessions 512] [--steps 6] [--scenario sample] [--folder DIR]``

All variants answer the same prompts (those of the distilled table), in turn, ``--rounds`` times; medians are printed:

- *distillation*: engine in a Ray actor; prompts are built, sent, answered and parsed, and the table is written to disk;
- *one list*: the same kind of engine in this process, given all prompts of the table as one list;
- *transformers*: ``generate()`` of one token, batches of 64 prompts of similar length padded on the left, float32;
- *second pass*: distillation into an empty folder with the answers in the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib import runtime, settings
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.models import load_model, resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.start import start_judge
from ialp_rllib.settings import Settings


def table_prompts(folder: Path, builder: PromptBuilder, pad: int) -> list[str]:
    """The prompts of a distilled table."""
    table = read_table(folder)
    rows = table["history"].to_pylist()
    width = max(map(len, rows))
    history = np.array([[pad] * (width - len(row)) + row for row in rows])
    return builder.build(history, np.array(table["candidates"].to_pylist()))


@torch.inference_mode()
def generate(lm: Any, tokens: PromptTokenizer, prompts: list[str], batch: int = 64) -> None:
    """Plain batched generation with transformers."""
    ids = sorted(tokens.encode(prompts), key=len)
    for start in range(0, len(ids), batch):
        inputs = tokens.pad(ids[start : start + batch], lm.device)
        lm.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=tokens.tokenizer.pad_token_id)


def measure(scenario: Settings, catalogue: Catalogue, model: str, root: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round. Variants run in turn, so that other load affects all of them."""
    judge, builder = scenario.judge, PromptBuilder(catalogue, scenario.judge)
    runtime.start(scenario.runtime)
    plain = start_judge(judge, catalogue, model)
    cached = LLMJudge(plain.client, catalogue, dataclasses.replace(judge, cache=str(root / "cache")))
    distil(cached, scenario.distil, catalogue, root / "fill")
    prompts = table_prompts(root / "fill", builder, catalogue.pad)
    tokens = PromptTokenizer(judge, builder, model)
    print(
        f"{len(prompts)} prompts of {np.mean([len(ids) for ids in tokens.encode(prompts)]):.0f} tokens, {judge.dtype}"
    )
    engine, lm = make_engine(judge, builder, model), load_model(model, judge.dtype)
    variants: dict[str, Callable[[int], Any]] = {
        "distillation": lambda n: distil(plain, scenario.distil, catalogue, root / f"plain-{n}"),
        "one list": lambda n: engine.ask(prompts),
        "transformers": lambda n: generate(lm, tokens, prompts),
        "second pass": lambda n: distil(cached, scenario.distil, catalogue, root / f"again-{n}"),
    }
    engine.ask(prompts[:8])
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for n in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run(n)
            seconds[name].append(time.perf_counter() - start)
    engine.close()
    plain.close()
    runtime.stop()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--folder", type=Path, help="folder of the scenario's data (catalogue.data)")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    plan = [f"distil.sessions={arguments.sessions}", f"distil.steps={arguments.steps}"]
    data = [f"catalogue.data={arguments.folder.resolve()}"] if arguments.folder else []
    scenario = settings.load(arguments.scenario, [*plan, *data, *arguments.set])
    torch.set_num_threads(max(1, scenario.judge.cpus))
    catalogue, model = read_source(scenario.catalogue), resolve_model(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(scenario, catalogue, model, Path(folder), arguments.rounds)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    total = scenario.distil.sessions * scenario.distil.steps
    for name, value in sorted(median.items(), key=lambda item: item[1]):
        ratio = value / median["distillation"]
        print(f"{name:14} {value:8.2f} s {total / value:10,.0f} prompts/s   distillation is {ratio:6.2f} x as fast")


if __name__ == "__main__":
    main()
