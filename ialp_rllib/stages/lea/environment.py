"""Stage ``environment``: state and reward adapters of the LLM, and the control without one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue.ranking_split import RankingSplit
from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.environment.fit import Chosen, choose_users, fit_environment
from ialp_rllib.judge.environment.quality import quality
from ialp_rllib.progress import Progress
from ialp_rllib.stages.lea.model import TITLES, Cost, facts_of, learnt_part, new_environment, split_of
from ialp_rllib.stages.lea.rows import environments_of
from ialp_rllib.stages.lea.texts import bars_of, held_out_sequences
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Learn the environments that the rows read; each is measured on the validation users, whom it has not seen.

    Returns:
        By environment what :func:`.fit_environment` returns, its ``quality`` (:func:`.quality`) and its costs;
        ``untrained``, what states are to be better than (:func:`.bars_of`); and ``users``, those that the environments
        were learnt from or stopped by.
    """
    split, adapters = split_of(run), run.settings.lea.environment
    chosen = choose_users(split.train, adapters, run.settings.seeds[0])
    facts: dict[str, Any] = {}
    for name in environments_of(run.settings.lea):
        part = learnt_part(run, name)
        if not part.up_to_date():
            began = time.perf_counter()
            found = _learn(run, part, name, split, chosen, progress)
            part.finish(found, time.perf_counter() - began)
        facts[name] = facts_of(part)
    users = [int(user) for user in split.train.user[np.concatenate(chosen)]]
    return {**facts, "untrained": bars_of(run, split), "users": sorted(users)}


def _learn(
    run: RunFolder, part: Stage, name: str, split: RankingSplit, chosen: Chosen, progress: Progress
) -> dict[str, Any]:
    cost, adapters, seed = Cost(), run.settings.lea.environment, run.settings.seeds[0]
    model, folder = new_environment(run, name), part.open()
    with threads_for(model), torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout
        learnt = fit_environment(
            model,
            split.train,
            chosen,
            adapters,
            seed,
            folder,
            part.fingerprint,
            lambda done, total: progress.update(TITLES[name], done, total),
        )
        found = quality(model, held_out_sequences(split), split.train.popularity(split.n_items), adapters, seed)
    progress.update(TITLES[name], 1, 1)  # it may have stopped early
    for path in (folder / "checkpoint").glob("*.safetensors"):
        path.unlink()
    return {**learnt, "quality": found, **cost.facts()}
