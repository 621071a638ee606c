"""Accuracy, agreement and throughput of the judge's two engines on held-out prompts.

Usage: ``python benchmarks/judge_agreement.py [--model tiny] [--prompts 1000] [--tune] [--set judge.dtype=float32]...``

Prints the accuracy on prompts of the scenario's test users, prompts per second, and the number of prompts for which
vLLM and transformers give the same label. ``--tune`` runs the LoRA tuning first and serves the merged model.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ialp_rllib import settings
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.tune import tune_judge


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scenario = settings.load(arguments.scenario, arguments.set)
    judge, catalogue = scenario.judge, read_source(scenario.catalogue)
    builder = PromptBuilder(catalogue, judge)
    model = resolve_model(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tune:
            started = time.perf_counter()
            facts = tune_judge(judge, catalogue, model, Path(folder))
            model = f"{folder}/merged"
            loss, count = facts["loss"], len(facts["loss"]) // 4
            print(f"tuning: {time.perf_counter() - started:.1f} s, {facts['updates']} updates, "
                  f"label loss {np.mean(loss[:count]):.3f} -> {np.mean(loss[-count:]):.3f}")  # fmt: skip
        examples = draw_examples(
            catalogue,
            catalogue.test_users,
            arguments.prompts,
            judge.candidates,
            judge.tune.none_share,
            np.random.default_rng(5),
            history=judge.history,
            min_rating=judge.min_rating,
        )
        prompts = builder.build(examples.history, examples.candidates)
        chosen = {}
        print(f"{'engine':14} {'start s':>8} {'prompts/s':>10} {'accuracy':>9} {'with item':>10} {'None rate':>10}")
        for name in ("vllm", "transformers"):
            started = time.perf_counter()
            engine = make_engine(dataclasses.replace(judge, engine=name), builder, model)
            engine.ask(prompts[:8])
            ready = time.perf_counter()
            logprobs = engine.ask(prompts).logprobs
            seconds = time.perf_counter() - ready
            engine.close()
            label, with_item = logprobs.argmax(1), examples.label < judge.candidates
            correct = label == examples.label
            chosen[name] = logprobs
            print(
                f"{name:14} {ready - started:8.1f} {len(prompts) / seconds:10.1f} {correct.mean():9.3f} "
                f"{correct[with_item].mean():10.3f} {(label == judge.candidates).mean():10.3f}"
            )
    first, second = chosen["vllm"], chosen["transformers"]
    same = (first.argmax(1) == second.argmax(1)).sum()
    print(
        f"same label: {same} of {len(prompts)}; largest difference of a log-probability {abs(first - second).max():.1e}"
    )
    shares = np.bincount(first.argmax(1), minlength=judge.candidates + 1) / len(prompts)
    print(f"labels (k + 1, None last): {np.round(shares, 3).tolist()}")


if __name__ == "__main__":
    main()
