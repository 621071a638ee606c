"""Stage ``distil``: the judge plays sessions; its preferences become a Parquet table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.agent.policy.index import make_index
from ialp_rllib.judge.answers import REFUSED
from ialp_rllib.judge.distillation.distil import DistilProgress, distil
from ialp_rllib.judge.distillation.preferences import matrix, read_table, table_hash
from ialp_rllib.judge.distillation.same_answer import LabelCounts
from ialp_rllib.judge.oracle.effective import effective_correlation, true_item_means
from ialp_rllib.judge.preference.rounds import RoundModels
from ialp_rllib.judge.proposals import ItemIndex, Search
from ialp_rllib.progress import Progress
from ialp_rllib.settings import JudgeSettings, Settings
from ialp_rllib.stages.judges import judge_of
from ialp_rllib.stages.run import RunFolder


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Ask what has not been answered yet. Live pre-training needs no table: then nothing is asked."""
    settings = run.settings
    if settings.pretrain.mode == "live":
        return {"prompts": 0}
    models = RoundModels(folder, settings.distil, run.visible, settings.judge.history)
    judge = judge_of(run)
    try:
        speed = distil(
            judge,
            settings.distil,
            run.visible,
            folder,
            progress=lambda now: progress.update("Prompts", now.done, now.total, _note(now, settings.judge)),
            index=item_index(settings),
            preferred=models.of,
        )
        usage = judge.usage()
    finally:
        judge.close()
    table = read_table(folder)
    means = _item_means(run)
    rounds = models.facts()
    labels = LabelCounts(settings.judge.candidates)
    labels.add(table["label"].to_numpy(), matrix(table, "logprobs"))
    return {
        "prompts": table.num_rows,
        "asked_now": speed.asked,
        "remembered": judge.cache_hits,
        "refused": int((table["label"].to_numpy() == REFUSED).sum()),
        "tokens": speed.tokens,
        "seconds_asking": speed.seconds,
        "prompts_per_second": speed.prompts_per_second,
        "engine_hours": speed.seconds * speed.engines / 3600,
        "cost": speed.seconds * speed.engines / 3600 * settings.judge.hourly_price,
        "engine_busy_share": usage.seconds / max(1e-9, speed.seconds * speed.engines),
        "engines_replaced": usage.replaced,
        "mean_reward": float(table["reward"].to_numpy().mean()),
        "uses_test_truth": settings.judge.is_oracle,
        "effective_correlation": None if means is None else effective_correlation(table, means),
        "same_answer": labels.same_answer(),
        **({"rounds": rounds} if rounds else {}),
        "hash": table_hash(folder),
    }


def item_index(settings: Settings) -> ItemIndex | None:
    """The kind of index that the policy has (``agent.candidates``), for the judge's proposals; None: there is none."""
    few = settings.agent.candidates
    if not few.count or settings.distil.is_uniform:
        return None

    def make(vectors: np.ndarray, bias: np.ndarray) -> Search:
        index = make_index(torch.from_numpy(vectors), torch.from_numpy(bias), few)
        return lambda query, count: index.search(torch.from_numpy(query), count).numpy()

    return ItemIndex(few.count, make, (few.index, few.probes))


def _item_means(run: RunFolder) -> np.ndarray | None:
    """The true mean of each item over the test users, where the truth is at hand: no judge is given it here.

    In a rating world it is in the data; in a sequence world only an oracle's run needs the fitted test world.
    """
    settings = run.settings
    if settings.users.world == "rating" or settings.judge.is_oracle:
        return true_item_means(run.catalogue, settings.users, run.root / "users")
    return None


def _note(now: DistilProgress, judge: JudgeSettings) -> str:
    """Speed, and what is still to be paid."""
    tokens = now.tokens / max(1e-9, now.seconds)
    note = f"{now.prompts_per_second:,.0f} prompts/s, {tokens:,.0f} tokens/s"
    if judge.hourly_price and now.prompts_per_second:
        hours = now.remaining_engine_hours()
        note += f", {hours:.2f} engine hours = {hours * judge.hourly_price:.2f} to go"
    return note
