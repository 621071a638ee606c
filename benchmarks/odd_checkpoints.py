"""Odd checkpoints and tokenizers as judges: is each answered rightly, or refused with a reason?

Usage: ``python benchmarks/odd_checkpoints.py [--quick] [--engine transformers|vllm] [--only TEXT]``

Makes checkpoints of many architectures, broken weights, odd tokenizers, adapters and GGUF files on the spot, without
the network, and sends each through audit, tuning and distillation. The label probabilities are compared with plain
transformers, computed prompt by prompt: within 1e-5 for the transformers engine, 1e-4 for vLLM in float32. vLLM serves
the architectures that it knows on a CPU; what must be refused is refused before it starts. Exit code 1 if a judge is
WRONG, or if an error is not one of ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from odd import architectures, broken, sources, tokenizers
from odd.cases import Case

from ialp_rllib import settings
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import IalpError
from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.engines.preflight import check_model
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.judge import local_judge
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.tune import tune_judge

ENGINES = ("transformers", "vllm")
PROMPTS = 6


def reference(case: Case, folder: Path, prompts: list[str], labels: list[str]) -> np.ndarray:
    """Probabilities of the labels by plain transformers, one prompt at a time, ``(B, k + 1)``."""
    assert case.reference is not None
    model, tokens = case.reference(folder)
    rows = []
    for prompt in prompts:
        ids = [tokens(prompt + label)["input_ids"] for label in labels]
        if case.text is not None:
            ids = [tokens(case.text(prompt) + label, add_special_tokens=False)["input_ids"] for label in labels]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[0][:-1]])).logits[0, -1].float()
        rows.append(torch.softmax(logits[[row[-1] for row in ids]], 0).numpy())
    return np.stack(rows)


def prompts_of(judge: settings.JudgeSettings, catalogue: Catalogue, builder: PromptBuilder) -> list[str]:
    rng = np.random.default_rng(1)
    examples = draw_examples(
        catalogue, catalogue.test_users, PROMPTS, judge.candidates, 0.1, rng, history=judge.history
    )
    return builder.build(examples.history, examples.candidates)


def through(case: Case, engine: str, folder: Path, scenario: settings.Settings, catalogue: Catalogue) -> str:
    """Outcome of a case with one engine: ``right``, ``refused: ...`` or ``WRONG: ...``."""
    model = str(case.make(folder))
    judge = dataclasses.replace(scenario.judge, model=model, engine=engine)
    early, expected = "", np.zeros(0)
    if case.reference is not None:  # first: vLLM changes some of transformers' classes in its process
        builder = PromptBuilder(catalogue, judge)
        prompts = prompts_of(judge, catalogue, builder)
        expected = reference(case, folder, prompts, builder.labels)
    try:
        check_model(judge)
    except IalpError as error:
        early = str(error)
    try:
        asked = local_judge(judge, catalogue, model)
    except IalpError as error:
        return f"refused: {error.where.replace(str(folder), 'FOLDER')}: {error.problem.replace(str(folder), 'FOLDER')}"
    if early:
        return f"WRONG: the engine serves what the check before it refuses ({early})"
    if case.reference is None:
        return "WRONG: it is served"
    answers = asked.client.result(asked.client.submit(prompts))
    if answers.refused:
        return f"WRONG: prompts are refused ({next(iter(answers.refused.values()))})"
    error = np.abs(np.exp(answers.logprobs) - expected).max()
    audit_judge(asked, judge, catalogue)
    plan = dataclasses.replace(scenario.distil, sessions=2, steps=2, batch=2)
    distil(asked, plan, catalogue, folder.parent / "table")
    asked.close()
    if not error <= (case.vllm_tolerance if engine == "vllm" else 1e-5):
        return f"WRONG: label probabilities are off by {error:.1e}"
    if engine == "transformers":
        tune_judge(judge, catalogue, model, folder.parent / "tuned")
        tuned = local_judge(judge, catalogue, str(folder.parent / "tuned" / "merged"))
        if not np.isfinite(tuned.client.result(tuned.client.submit(prompts)).logprobs).all():
            return "WRONG: answers after tuning are not finite"
    return f"right ({error:.0e})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample of the cases")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="default: both")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    small = ["judge.history=2", "judge.candidates=4", "judge.audit_prompts=8", "judge.tune.interactions=16"]
    small += ["judge.tune.batch=8", "judge.tune.epochs=1", "judge.max_length=1000"]
    scenario = settings.load("sample", small)
    catalogue = read_source(scenario.catalogue)
    kinds = (architectures, broken, tokenizers, sources)
    cases = [case for kind in kinds for case in kind.cases(arguments.quick) if arguments.only in case.name]
    counts: Counter[str] = Counter()
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="odd-checkpoints-")  # converted models
    for engine in arguments.engine or ENGINES:
        for case in cases:
            if engine == "vllm" and not case.vllm and case.reference is not None:
                continue
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "model"
                folder.mkdir()
                try:
                    outcome = through(case, engine, folder, scenario, catalogue)
                except IalpError as error:
                    outcome = f"refused later: {error.where}: {error.problem}"
                except Exception:
                    outcome = f"WRONG: traceback\n{traceback.format_exc()}"
            counts[f"{engine}: {outcome.partition(':')[0].partition(' (')[0]}"] += 1
            print(f"{engine:12} {case.name:36} {time.perf_counter() - began:5.1f} s  {outcome}", flush=True)
    print(f"\n{len(cases)} cases")
    for name, count in sorted(counts.items()):
        print(f"{count:4}  {name}")
    sys.exit(any("WRONG" in name for name in counts))


if __name__ == "__main__":
    main()
