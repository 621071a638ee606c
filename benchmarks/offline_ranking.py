"""Next-item ranking among all items: rankings without training beside sequential recommenders trained on the log.

    python benchmarks/offline_ranking.py industry --data DIR --protocol leave_one_out --rows popularity item_knn vsknn
    python benchmarks/offline_ranking.py industry --data DIR --parts 5 --seeds 0 1 2
    python benchmarks/offline_ranking.py sample --offline epochs=10 --offline dropout=0.2

Protocol `users`: whole users are held out, a fold of a fifth per part; with 5 parts every user is tested once.
`leave_one_out`: the last item of every user. "every": all items of a held-out user but the first. Networks stop by the
validation NDCG@10, or after `--seconds` CPU-seconds each (marked "not converged"). Killed and called again, it goes on.
Differences are of NDCG@10 to the first row with an interval by a bootstrap over users; seeds are averaged per user.
Both, and the buckets, are with seen items masked, unless training sequences hold items twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

import ialp_rllib
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.neighbours import VSKNN, ItemKNN, Popularity
from ialp_rllib.agent.policy.offline import WITHOUT_Q, NetworkScorer, OfflineTraining
from ialp_rllib.agent.policy.sequential import BASES
from ialp_rllib.catalogue.ranking_split import RankingSplit, Scorer, held_out_users, leave_one_out, rank_cases
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.results.ranking import by_bucket, case_measures, ranking_measures
from ialp_rllib.results.statistics import paired_bootstrap
from ialp_rllib.settings import OfflineSettings, fingerprint, from_dict, load

WITHOUT = {
    "item_knn": lambda split, s: ItemKNN(split.train, split.n_items, s.neighbours),
    "vsknn": lambda split, s: VSKNN(split.train, split.n_items, s.neighbours),
    "popularity": lambda split, s: Popularity(split.train, split.n_items),
}
NETWORKS = {
    f"{base}_{objective}": {"base": base, "objective": objective}
    for base in BASES
    for objective in ("ce", "sqn", "sac", "snqn", "sa2c")
}
DEFAULT = (*WITHOUT, "sasrec_ce", "gru4rec_ce", "sasrec_snqn", "sasrec_sa2c")


class Ranked(NamedTuple):
    """Ranks of all test cases: ``(N,)`` each, and the CPU-seconds of training and of ranking once."""

    user: np.ndarray
    target: np.ndarray
    last: np.ndarray
    plain: np.ndarray
    masked: np.ndarray
    seconds: np.ndarray


def measure(scorer: Scorer, split: RankingSplit, seconds: float) -> Ranked:
    began = time.process_time()
    plain = rank_cases(scorer, split.test, split.n_items, False)
    seconds += time.process_time() - began
    masked = rank_cases(scorer, split.test, split.n_items, True)
    cases = split.test
    last = np.append(cases.user[1:] != cases.user[:-1], True)
    return Ranked(cases.user, cases.target, last, plain, masked, np.array([seconds]))


def train(training: OfflineTraining, folder: Path, identity: str, limit: float) -> tuple[float, str]:
    """CPU-seconds of the training, over all calls, and how it ended."""
    kept, spent = Checkpoints(folder, identity), 0.0
    resumed = kept.newest()
    if resumed is not None:
        state = resumed.checkpoint.state["training"]
        training.set_state(state["state"])
        spent = state["seconds"]
    while not training.finished and spent < limit:
        began = time.process_time()
        training.run_epoch()
        spent += time.process_time() - began
        state = {"state": training.state(), "seconds": spent}
        kept.save(Checkpoint({"training": state}, {}), len(training.curve))
        row = {k: round(v, 4) for k, v in training.curve[-1].items() if v is not None}
        print(f"  {spent:6.0f} CPU-s {row}", flush=True)
    ended = "stopped by validation" if training.finished else "not converged"
    return spent, f"{len(training.curve)} passes, best {training.best}, {ended}"


def rows_of(name: str, split: RankingSplit, options: Any, part: int, seed: int) -> Iterator[tuple[str, Ranked]]:
    """The rows of one method: a network with a Q head has two, one for each head."""
    if name in WITHOUT:
        began = time.process_time()
        scorer = WITHOUT[name](split, options.settings)
        yield name, measure(scorer, split, time.process_time() - began)
        return
    settings = dataclasses.replace(options.settings, **NETWORKS[name])
    training = OfflineTraining(split, settings, seed)
    identity = fingerprint(
        ialp_rllib.__version__, settings, options.protocol, options.scenario, options.set, part, seed
    )
    folder = options.out / f"{options.scenario}-{options.protocol}-{name}-part-{part}-seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    seconds, how = train(training, folder, identity, options.seconds)
    print(f"{name}, part {part}, seed {seed}: {how}", flush=True)
    net = training.result()
    yield name, measure(NetworkScorer(net), split, seconds)
    if settings.objective not in WITHOUT_Q:
        yield f"{name}, Q head", measure(NetworkScorer(net, "q"), split, seconds)


def table(found: dict[str, list[Ranked]], protocol: str, seen_as: str) -> None:
    """One line per row, set of positions and masking; then differences to the first row."""
    print("\n| row | positions | seen | HR@5 | HR@10 | HR@20 | NDCG@5 | NDCG@10 | NDCG@20 | MRR | n | CPU-s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    kinds = ["last"] if protocol == "leave_one_out" else ["last", "every"]
    reference = next(iter(found))
    for positions in kinds:
        for seen in ("masked", "plain"):
            for name, parts in found.items():
                rank, _ = together(parts, positions, seen)
                cells = ranking_measures(rank)
                count, seconds = cells.pop("n"), sum(float(p.seconds[0]) for p in parts)
                order = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")
                line = " | ".join(f"{cells[key]:.4f}" for key in order)
                print(f"| {name} | {positions} | {seen} | {line} | {count:,} | {seconds:.1f} |")
    print(f"\nNDCG@10, seen items {seen_as}, less that of {reference}; mean over users, 95% interval")
    for positions in kinds:
        base = per_user(found[reference], positions, seen_as)
        for name, parts in list(found.items())[1:]:
            (difference, low, high), p = paired_bootstrap(per_user(parts, positions, seen_as), base)
            print(f"{name:28} {positions:6} {difference:+.4f} [{low:+.4f}, {high:+.4f}] p {p:.3f}")


def together(parts: list[Ranked], positions: str, seen: str) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and users of the cases of all parts and seeds."""
    chosen = [p.last if positions == "last" else np.ones(len(p.user), bool) for p in parts]
    pairs = list(zip(parts, chosen, strict=True))
    return np.concatenate([getattr(p, seen)[k] for p, k in pairs]), np.concatenate([p.user[k] for p, k in pairs])


def per_user(parts: list[Ranked], positions: str, seen: str) -> np.ndarray:
    """Mean NDCG@10 of each user over cases and seeds, in the order of the users."""
    rank, user = together(parts, positions, seen)
    _, index, count = np.unique(user, return_inverse=True, return_counts=True)
    means: np.ndarray = np.bincount(index, case_measures(rank)["NDCG@10"]) / count
    return means


def buckets(found: dict[str, list[Ranked]], popularity: np.ndarray, seen: str) -> None:
    print(f"\nHR@10 by popularity of the true item in part 0, seen items {seen}")
    for name, parts in found.items():
        cells = by_bucket(getattr(parts[0], seen), parts[0].target, popularity)
        print(f"{name:28} " + "  ".join(f"{b} {m['HR@10']:.4f} (n {m['n']:,})" for b, m in cells.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder of the data; none for the sample")
    parser.add_argument("--protocol", choices=("users", "leave_one_out"), default="users")
    parser.add_argument("--rows", nargs="+", choices=(*WITHOUT, *NETWORKS), default=DEFAULT)
    parser.add_argument("--parts", type=int, default=1, help="folds of users to test on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="CPU-seconds of training, per network")
    parser.add_argument("--out", type=Path, default=Path("runs/offline"), help="folder for checkpoints")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of `ialp run`")
    parser.add_argument("--offline", action="append", default=[], metavar="KEY=VALUE", help="of the networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.offline)}
    options.settings = from_dict(OfflineSettings, given, "--offline")
    found: dict[str, list[Ranked]] = {}
    popularity, masks_seen = None, True
    for part in range(1 if options.protocol == "leave_one_out" else options.parts):
        changes = [*options.set, ("catalogue.test_part", part)]
        if options.data:
            changes.append(("catalogue.data", str(options.data.resolve())))
        catalogue = read_source(load(options.scenario, changes).catalogue)
        split = leave_one_out(catalogue) if options.protocol == "leave_one_out" else held_out_users(catalogue)
        popularity = split.train.popularity(split.n_items) if popularity is None else popularity
        masks_seen &= split.masks_seen()
        print(f"part {part}: {len(split.train):,} sequences, {len(split.test):,} test cases", flush=True)
        for name in options.rows:
            for seed in options.seeds if name in NETWORKS else options.seeds[:1]:
                for row, ranked in rows_of(name, split, options, part, seed):
                    found.setdefault(row, []).append(ranked)
    seen_as = "masked" if masks_seen else "plain"
    table(found, options.protocol, seen_as)
    assert popularity is not None
    buckets(found, popularity, seen_as)


if __name__ == "__main__":
    main()
