"""Random search over the settings of sequential recommenders, with equally many trials for each, by validation NDCG@10.

    python benchmarks/offline_tuning.py industry --data DIR --trials 8 --seconds 120
    python benchmarks/offline_tuning.py sample --trials 3 --rows sasrec_ce sasrec_snqn

All rows get the same draws: what differs between them is not luck with the search. Trials end by validation, or after
`--seconds` CPU-seconds. Test users are not read. The last line is a value of `lea.by_row` for `ialp lea`. Killed and
called again, it goes on with the trials that are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ialp_rllib
from ialp_rllib.agent.policy.offline import CHOSEN_BY, OfflineTraining
from ialp_rllib.agent.policy.sequential import BASES
from ialp_rllib.catalogue.ranking_split import RankingSplit, held_out_users, leave_one_out
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import OfflineSettings, fingerprint, load
from ialp_rllib.storage import write_text

OBJECTIVES = ("ce", "sqn", "sac", "snqn", "sa2c")
ROWS = {f"{base}_{objective}": {"base": base, "objective": objective} for base in BASES for objective in OBJECTIVES}
LEA = {"sasrec_ce": "sasrec-ce", "gru4rec_ce": "gru4rec-ce"}
"""Names of the rows in ``lea.by_row`` that differ from the objective's."""


def draws(count: int, seed: int) -> list[dict[str, Any]]:
    """Settings of each trial; the first ones of a longer search are those of a shorter one."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        found.append(
            {
                "learning_rate": float(f"{np.exp(rng.uniform(np.log(7e-4), np.log(7e-3))):.2g}"),
                "dropout": float(rng.choice([0.2, 0.3, 0.4, 0.5, 0.6])),
                "width": int(rng.choice([32, 64, 128])),
                "blocks": int(rng.choice([1, 2])),
                "weight_decay": float(rng.choice([0.0, 1e-6, 1e-5])),
                "batch": int(rng.choice([64, 128, 256])),
            }
        )
    return found


def trial(split: RankingSplit, settings: OfflineSettings, seed: int, seconds: float) -> dict[str, Any]:
    """The best validation NDCG@10 of a training, and what it took."""
    training, began = OfflineTraining(split, settings, seed), time.process_time()
    while not training.finished and time.process_time() - began < seconds:
        training.run_epoch()
    known = [row[CHOSEN_BY] for row in training.curve if row[CHOSEN_BY] is not None]
    return {
        "value": max(known, default=0.0),
        "passes": len(training.curve),
        "seconds": round(time.process_time() - began, 1),
        "ended": "by validation" if training.finished else "not converged",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder of the data; none for the sample")
    parser.add_argument("--protocol", choices=("users", "leave_one_out"), default="users")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=["sasrec_ce", "gru4rec_ce", "sasrec_snqn"])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the draws and of the trainings")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="CPU-seconds of a trial")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/offline-tuning"), help="folder for finished trials")
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = [("catalogue.data", str(options.data.resolve()))] if options.data else []
    catalogue = read_source(load(options.scenario, changes).catalogue)
    split = leave_one_out(catalogue) if options.protocol == "leave_one_out" else held_out_users(catalogue)
    options.out.mkdir(parents=True, exist_ok=True)
    plain = dataclasses.replace(OfflineSettings(), epochs=options.epochs, validate_every=3, patience=4)
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    print("| row | trial | NDCG@10, validation | passes | CPU-s | ended | settings |\n|---|---|---|---|---|---|---|")
    for row in options.rows:
        for number, values in enumerate(draws(options.trials, options.seed)):
            settings = dataclasses.replace(plain, **ROWS[row], **values)
            mark = fingerprint(
                ialp_rllib.__version__, settings, options.protocol, options.scenario, options.seed, options.seconds
            )
            file = options.out / f"{row}-{mark}.json"
            if not file.is_file():
                write_text(file, json.dumps(trial(split, settings, options.seed, options.seconds)))
            found = json.loads(file.read_text())
            text = ", ".join(f"{key} {value}" for key, value in values.items())
            cells = f"{found['value']:.4f} | {found['passes']} | {found['seconds']} | {found['ended']}"
            print(f"| {row} | {number} | {cells} | {text} |", flush=True)
            if found["value"] > best.get(row, (-1.0, {}))[0]:
                best[row] = found["value"], values
    own = [
        f"{LEA.get(row, ROWS[row]['objective'])}.{key}={value}"
        for row, (_, values) in best.items()
        for key, value in values.items()
    ]
    print(f"\n--set 'lea.by_row={json.dumps(own)}'")


if __name__ == "__main__":
    main()
