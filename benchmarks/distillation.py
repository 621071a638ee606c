"""How fast is distillation, end to end? Beside the same engine fed one big list, transformers, and a second pass.

Usage: ``python benchmarks/distillation.py [--sessions 512] [--steps 6] [--scenario sample] [--folder DIR]``

Every way answers the same prompts (those of the distilled table), in one run, one after the other, ``--rounds`` times;
medians are printed:

- *distillation*: engine in a Ray actor, prompts written, sent, answered, read, and the table put on disk;
- *one list*: the same engine in this process, given all prompts of the table as one list;
- *transformers*: ``generate()`` of one token, batches of 64 prompts of similar length padded on the left, float32;
- *second pass*: distillation into an empty folder with the answers in the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib import runtime, settings
from ialp_rllib.catalogue import Catalogue, read_source
from ialp_rllib.judge.distil import distil
from ialp_rllib.judge.engines import PromptTokens, make_engine
from ialp_rllib.judge.judge import start_judge
from ialp_rllib.judge.models import load_model, resolve_model
from ialp_rllib.judge.preferences import read_table
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.settings import JudgeSettings, Settings


def table_prompts(folder: Path, builder: PromptBuilder, pad: int) -> list[str]:
    """The prompts of a distilled table."""
    table = read_table(folder)
    rows = table["history"].to_pylist()
    width = max(map(len, rows))
    history = np.array([[pad] * (width - len(row)) + row for row in rows])
    return builder.build(history, np.array(table["candidates"].to_pylist()))


def one_list(judge: JudgeSettings, builder: PromptBuilder, model: str, prompts: list[str], rounds: int) -> list[float]:
    engine = make_engine(judge, builder, model)
    engine.ask(prompts[:8])
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        engine.ask(prompts)
        seconds.append(time.perf_counter() - began)
    engine.close()
    return seconds


@torch.inference_mode()
def generated(
    judge: JudgeSettings, builder: PromptBuilder, model: str, prompts: list[str], rounds: int, batch: int = 64
) -> list[float]:
    """Plain batched generation, as a person would write it with transformers."""
    tokens = PromptTokens(judge, builder, model)
    lm: Any = load_model(model, judge.dtype)
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        ids = sorted(tokens.encode(prompts), key=len)
        for start in range(0, len(ids), batch):
            inputs = tokens.pad(ids[start : start + batch], lm.device)
            lm.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=tokens.tokenizer.pad_token_id)
        seconds.append(time.perf_counter() - began)
    return seconds


def distilled(scenario: Settings, catalogue: Catalogue, model: str, root: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of distillation: ``rounds`` times without a cache, then once to fill one and ``rounds`` times with it."""
    seconds: dict[str, list[float]] = {"distillation": [], "second pass": []}
    judge = start_judge(scenario.judge, catalogue, model)
    for n in range(rounds):
        seconds["distillation"].append(distil(judge, scenario.distil, catalogue, root / f"plain-{n}").seconds)
    judge.close()
    cached = dataclasses.replace(scenario.judge, cache=str(root / "cache"))
    judge = start_judge(cached, catalogue, model)
    distil(judge, scenario.distil, catalogue, root / "fill")
    for n in range(rounds):
        seconds["second pass"].append(distil(judge, scenario.distil, catalogue, root / f"again-{n}").seconds)
    judge.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--folder", type=Path, help="folder of the scenario's data (catalogue.data)")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    plan = [f"distil.sessions={arguments.sessions}", f"distil.steps={arguments.steps}"]
    data = [f"catalogue.data={arguments.folder.resolve()}"] if arguments.folder else []
    scenario = settings.load(arguments.scenario, [*plan, *data, *arguments.set])
    torch.set_num_threads(max(1, scenario.judge.cpus))
    catalogue, model = read_source(scenario.catalogue), resolve_model(arguments.model)
    builder = PromptBuilder(catalogue, scenario.judge)
    runtime.start(scenario.runtime)
    with tempfile.TemporaryDirectory() as folder:
        seconds = distilled(scenario, catalogue, model, Path(folder), arguments.rounds)
        runtime.stop()
        prompts = table_prompts(Path(folder) / "fill", builder, catalogue.pad)
    seconds["one list"] = one_list(scenario.judge, builder, model, prompts, arguments.rounds)
    seconds["transformers"] = generated(scenario.judge, builder, model, prompts, arguments.rounds)
    median = {way: statistics.median(values) for way, values in seconds.items()}
    length = np.mean([len(ids) for ids in PromptTokens(scenario.judge, builder, model).encode(prompts)])
    print(f"{len(prompts)} prompts of {length:.0f} tokens, {scenario.judge.dtype}, medians of {arguments.rounds}")
    for way, value in sorted(median.items(), key=lambda item: item[1]):
        ratio = value / median["distillation"]
        print(
            f"{way:14} {value:8.2f} s {len(prompts) / value:10,.0f} prompts/s   distillation is {ratio:6.2f} x as fast"
        )


if __name__ == "__main__":
    main()
