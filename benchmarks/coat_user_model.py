"""Which settings of Coat's user model (`users.deepfm`) predict held-out train ratings best?

    python benchmarks/coat_user_model.py --data DIR [--candidates N] [--folds N]

Random search over negatives and their weight, debias, dropout, sizes, learning rate and L2 penalty, beside the
published settings and those of `scenarios/coat.yaml`. Only the self-selected ratings of the train users are read: each
candidate is fitted to the others and measured on one part of them, for each of the parts, as an ensemble of 4 with
another seed per part. Errors:

- plain: over the held-out ratings, which users selected themselves;
- weighted: each rating by its inverse propensity, an estimate of the error over all pairs (Schnabel et al. 2016). The
  candidate with the lowest one is chosen.

For the chosen one, the number of members and `pessimism` are varied. Pessimism lowers predictions on purpose, so it is
judged by the weighted correlation. At the end, once, the error of the choice on the uniformly drawn ratings, which had
no part in it.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import DeepFMSettings, load
from ialp_rllib.users import deepfm

GRID = {
    "negatives": (0, 1, 5),
    "negative_weight": (0.01, 0.03, 0.1, 1.0),
    "debias": (False, True),
    "dropout": (0.0, 0.2, 0.4),
    "dim": (8, 16),
    "hidden": ((32,), (128, 128)),
    "learning_rate": (1e-3, 2e-3),
    "weight_decay": (1e-4, 1e-3, 3e-3),
}
PUBLISHED = DeepFMSettings()
MEMBERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the Coat archive")
    parser.add_argument("--candidates", type=int, default=24, help="random candidates")
    parser.add_argument("--folds", type=int, default=5, help="parts of the ratings, each held out once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = load("coat", [f"catalogue.data={options.data}"])
    catalogue = read_source(settings.catalogue)
    began = time.perf_counter()
    parts = folds(catalogue, options.folds)
    named = {"published": PUBLISHED, "coat.yaml": settings.users.deepfm}
    named |= {str(n): candidate for n, candidate in enumerate(candidates(options.candidates))}
    table = {name: measure(parts, replace(c, members=MEMBERS))[0] for name, c in named.items()}
    order = sorted(table, key=lambda name: table[name][1])
    print_table("candidate", ((name, named[name], table[name]) for name in order))
    best = named[order[0]]
    print(f"\nchosen: {order[0]}; {time.perf_counter() - began:.0f} s so far\n")
    rows = []
    for members, pessimisms in ((1, (0.0,)), (MEMBERS, (0.0,)), (10, (0.0, 0.5, 1.0, 2.0))):
        ensemble = replace(best, members=members)
        for pessimism, values in zip(pessimisms, measure(parts, ensemble, pessimisms), strict=True):
            rows.append((f"{members} members, pessimism {pessimism:g}", ensemble, values))
    print_table("ensemble", rows)
    _, quality = deepfm.fit_deepfm(catalogue, replace(best, members=10), seed=0)
    print(f"\n10 members on test.ascii: RMSE {quality['test_rmse']:.3f}, correlation {quality['test_correlation']:.3f}")
    print(f"{time.perf_counter() - began:.0f} s")


def candidates(n: int) -> list[DeepFMSettings]:
    """``n`` random combinations of the grid; without negatives their weight means nothing."""
    values = [combination for combination in itertools.product(*GRID.values()) if combination[0] or combination[1] == 1]
    chosen = random.Random(0).sample(values, n)
    return [DeepFMSettings(**dict(zip(GRID, combination, strict=True))) for combination in chosen]


def folds(catalogue: Catalogue, n: int) -> list[Catalogue]:
    """The train users' self-selected ratings, with one of ``n`` random parts set aside as if for testing."""
    rows = np.nonzero((catalogue.split == 0) & np.isin(catalogue.user, catalogue.train_users))[0]
    part = np.random.default_rng(0).permutation(len(rows)) % n
    log = {name: getattr(catalogue, name)[rows] for name in ("user", "item", "rating")}
    return [replace(catalogue, **log, split=(part == k).astype(np.int8), truth=None) for k in range(n)]


def measure(parts: list[Catalogue], settings: DeepFMSettings, pessimisms: Sequence[float] = (0.0,)) -> np.ndarray:
    """Means over the parts, a row per pessimism: plain and weighted RMSE, standard error of this one, weighted
    correlation.
    """
    values = np.zeros((len(parts), len(pessimisms), 3))
    for seed, catalogue in enumerate(parts):
        model, _ = deepfm.fit_deepfm(catalogue, settings, seed)
        held = catalogue.split == 1
        pairs = (catalogue.user[held], catalogue.item[held])
        y, w = catalogue.rating[held].astype(float), 1 / catalogue.propensities[pairs].astype(float)
        for row, pessimism in enumerate(pessimisms):
            p = deepfm.pessimistic_ratings(model, deepfm.Fields.of(catalogue), pessimism)[pairs].astype(float)
            error = (p - y) ** 2
            values[seed, row] = np.sqrt(error.mean()), np.sqrt(np.average(error, weights=w)), correlation(p, y, w)
    errors = values[:, :, 1].std(0, ddof=1) / np.sqrt(len(parts))
    return np.insert(values.mean(0), 2, errors, axis=1)


def correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Weighted Pearson correlation."""
    covariance = np.cov(x, y, aweights=weight)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def print_table(title: str, rows: Iterable[tuple[str, DeepFMSettings, np.ndarray]]) -> None:
    print(f"| {title} | {' | '.join(GRID)} | plain RMSE | weighted RMSE | (SE) | weighted correlation |")
    print("|" + "---|" * (len(GRID) + 5))
    for name, settings, (plain, weighted, error, r) in rows:
        values = " | ".join(str(getattr(settings, key)) for key in GRID)
        print(f"| {name} | {values} | {plain:.3f} | {weighted:.3f} | {error:.3f} | {r:.3f} |", flush=True)


if __name__ == "__main__":
    main()
