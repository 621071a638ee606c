"""Stage ``environment``: state and reward adapters of the LLM, and the control without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.judge.environment.fit import choose_users, fit_environment
from ialp_rllib.judge.environment.quality import quality
from ialp_rllib.progress import Progress
from ialp_rllib.stages.lea_model import Cost, new_environment, sequences_of, split_of
from ialp_rllib.stages.lea_rows import environments_of
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import read_json, write_json

_TITLES = {"llm": "LLM environment", "llm_free": "Control without an LLM"}


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Learn the environments that the rows read; each is measured on the validation users, whom it has not seen.

    Returns:
        By environment what :func:`.fit_environment` returns and its ``quality`` (:func:`.quality`), and the costs.
    """
    cost, settings = Cost(), run.settings
    split = split_of(run)
    chosen = choose_users(split.train, settings.lea.environment, settings.seeds[0])
    longest = settings.lea.environment.history + 1
    popularity = split.train.popularity(split.n_items)
    start, end = sequences_of(split.valid)
    held_out = [split.valid.item[max(a, b - longest) : b] for a, b in zip(start, end, strict=True)]
    facts: dict[str, Any] = {}
    for name in environments_of(settings.lea):
        path = folder / f"{name}.json"
        if not path.is_file():
            model = new_environment(run, name)
            learnt = fit_environment(
                model,
                split.train,
                chosen,
                settings.lea.environment,
                settings.seeds[0],
                folder,
                name,
                f"{run.fingerprints['environment']}-{name}",
                lambda done, total, name=name: progress.update(_TITLES[name], done, total),  # type: ignore[misc]
            )
            found = quality(model, held_out, popularity, settings.lea.environment, settings.seeds[0])
            write_json(path, {**learnt, "quality": found})
            progress.update(_TITLES[name], 1, 1)
        facts[name] = read_json(path)
    for path in (folder / "checkpoint").glob("*.safetensors"):
        path.unlink()
    users = [int(user) for user in split.train.user[np.concatenate(chosen)]]
    return {**facts, "users": sorted(users), "chance": 1 / split.n_items, **cost.facts()}
