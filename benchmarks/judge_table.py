"""Accuracy of judges at k candidates, with uniform and popular negatives, each judge in each answer form; and its cost.

    python benchmarks/judge_table.py industry --data DIR [--judges popularity tfidf embedding:FOLDER tiny MODEL ...]
        [--answers likelihood yes_no] [--prompts 500] [--set judge.dtype=bfloat16 ...] [--gpu]

A judge is a value of `judge.model`, `oracle` excepted; a tuned one is RUN/tune/merged. LLMs are asked by
the transformers engine in this process, without Ray, once per form in `--answers`; forms other than `letter` and the
controls are calibrated on one half of the validation users. All are asked the same prompts of the other half, each of
which contains the true next item: accuracy is the fraction in which it gets the highest score of the k candidates, with
a 95% interval (Wilson). Rows are markdown; seconds are per 1,000 prompts, after the calibration.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import IalpError
from ialp_rllib.judge.answers import REFUSED
from ialp_rllib.judge.calibration import halves
from ialp_rllib.judge.choosing import choose_form
from ialp_rllib.judge.controls.control import make_control
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.judge.judge import local_judge
from ialp_rllib.judge.oracle.oracle import make_ratings_judge
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.results.statistics import wilson
from ialp_rllib.settings import LETTER, LIKELIHOOD, LLM, RATINGS, YES_NO, Settings, load, parse_judge_model

NEGATIVES = ("uniform", "popular")


def drawn(catalogue: Catalogue, settings: Settings, n: int) -> dict[str, Examples]:
    """The prompts by kind of negatives; both have the same histories and true items."""
    judge, users = settings.judge, halves(catalogue)[1]
    view = catalogue.of_users(np.union1d(catalogue.log_users, catalogue.valid_users))
    options = {"history": judge.history, "min_rating": judge.min_rating}
    return {
        kind: draw_examples(
            view,
            users,
            n,
            judge.candidates,
            0.0,
            np.random.default_rng([judge.seed, 8]),
            popular=kind == "popular",
            **options,  # type: ignore[arg-type]
        )
        for kind in NEGATIVES
    }


def made(
    settings: Settings, catalogue: Catalogue, model: str, answers: list[str]
) -> Iterator[tuple[str, PreferenceJudge]]:
    """A judge in each answer form, calibrated, one after the other; one that is no LLM has none.

    Raises:
        InputError: ``model`` is none that can be asked here: an oracle, or an LLM or encoder that is not there.
    """
    judge, attributes = replace(settings.judge, model=model), settings.catalogue.attributes
    kind = parse_judge_model(model).kind
    if kind == RATINGS:
        yield "", make_ratings_judge(judge, catalogue.visible())
        return
    if kind != LLM:
        yield "", make_control(judge, model, catalogue, attributes)
        return
    for answer in answers:
        asked = replace(judge, answer=answer, engine="transformers")
        found = local_judge(asked, catalogue.visible(), model, attributes)
        if answer != LETTER:
            form, found = choose_form(found, asked, catalogue)
            answer = f"{form.answer} ({form.calibration.norm}, w {form.calibration.own_weight:g})"  # type: ignore[union-attr]
        yield answer, found
        found.close()


def row(judge: PreferenceJudge, prompts: dict[str, Examples], batch: int) -> str:
    """Accuracies and cost of a judge, as cells."""
    cells, asked, wall, cpu = [], 0, time.perf_counter(), time.process_time()
    for kind in NEGATIVES:
        examples, refused = prompts[kind], 0
        scores: list[np.ndarray] = []
        for first in range(0, len(examples.label), batch):
            part = slice(first, first + batch)
            found = judge.answer(examples.history[part], examples.candidates[part], users=examples.user[part])
            refused += int((found.label == REFUSED).sum())
            scores.append(np.nan_to_num(found.logprobs[:, :-1], nan=-np.inf).argmax(1))
        correct = int((np.concatenate(scores) == examples.label).sum())
        low, high = wilson(correct, len(examples.label))
        note = f", {refused} refused" if refused else ""
        cells.append(f"{correct / len(examples.label):.3f} ({low:.3f} to {high:.3f}{note})")
        asked += len(examples.label)
    seconds = ((time.perf_counter() - wall) * 1000 / asked, (time.process_time() - cpu) * 1000 / asked)
    return " | ".join([*cells, f"{seconds[0]:.3g}", f"{seconds[1]:.3g}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder of the data; none for the sample")
    parser.add_argument("--judges", nargs="+", default=["popularity", "tfidf", "tiny"], metavar="MODEL")
    parser.add_argument("--answers", nargs="+", default=[LETTER, LIKELIHOOD, YES_NO], metavar="FORM")
    parser.add_argument("--prompts", type=int, default=500, help="of each kind of negatives")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpu", action="store_true", help="LLMs and encoders on a GPU")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of `ialp run`")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changes = [*options.set, *(["judge.gpus=1"] if options.gpu else [])]
    if options.data:
        changes.append(("catalogue.data", str(options.data.resolve())))
    settings = load(options.scenario, changes)
    catalogue = read_source(settings.catalogue)
    prompts, k = drawn(catalogue, settings, options.prompts), settings.judge.candidates
    print(f"{settings.scenario}: {options.prompts} prompts, {k} candidates, chance {1 / k:.3f}\n")
    print("| judge | form | uniform | popular | s per 1,000 | CPU-s per 1,000 |\n|---|---|---|---|---|---|")
    for model in options.judges:
        name = model[-60:]
        try:
            for form, judge in made(settings, catalogue, model, options.answers):
                print(f"| {name} | {form} | {row(judge, prompts, settings.judge.batch)} |", flush=True)
        except IalpError as error:
            print(f"| {name} | | {' '.join(str(error).split())} | | | |", flush=True)


if __name__ == "__main__":
    main()
