"""What a preference model adds to listwise pre-training: its softmax over all items, in sessions that it plays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ialp_rllib.agent.policy.imitation import Lesson
from ialp_rllib.agent.policy.model_states import own_targets
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.distillation.distil import session_starts
from ialp_rllib.judge.distillation.soft_labels import SoftLabels
from ialp_rllib.judge.preference.model import fit_preferences, text_similarities
from ialp_rllib.settings import Settings
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.vectors import item_vectors

NO_KNOWLEDGE = (
    "the preference model foretells the judge's held-out answers no better than chance, and is not used: the texts of "
    "the items do not tell what the judge goes by"
)
AUTO, PER_PROMPT, MOST = -1, 5, 20_000


def wanted_states(settings: Settings, catalogue: Catalogue, prompts: int) -> int:
    """In how many states the actor learns from a preference model of so many answered prompts; 0: there is none."""
    wanted = settings.pretrain.preference_model.rows
    if wanted != AUTO:
        return wanted
    fits = settings.users.world == "sequence" and not settings.agent.candidates.count and bool(catalogue.item_texts)
    return min(MOST, PER_PROMPT * prompts) if fits and prompts < catalogue.n_items else 0


def preferred_lesson(
    run: RunFolder,
    network: NetworkConfig,
    table: SoftLabels,
    held_out: np.ndarray,
    share: float,
    seed: int,
    states: int,
) -> tuple[Lesson | None, dict[str, Any]]:
    """Fit a preference model to a table, and let it say what it prefers.

    Args:
        run: ``pretrain.preference_model``, ``distil`` and ``judge.history`` are used, and the texts of the items.
        network: the agent's.
        table: the judge's answers.
        held_out: ``(M,) bool``, the rows that the model is measured by.
        share: of its sessions that the actor does not learn from.
        seed: of the sessions.
        states: in which it is asked, rounded up to whole sessions.

    Returns:
        The lesson, or None where the model foretells held-out answers no better than one without knowledge, and the
        model's facts.
    """
    settings, catalogue = run.settings, run.visible
    wanted, steps = settings.pretrain.preference_model, settings.distil.steps
    names = settings.catalogue.attributes or tuple(catalogue.item_texts)
    texts = {name: catalogue.item_texts[name] for name in names}
    features = text_similarities(texts, item_vectors(settings, catalogue))
    history = min(settings.judge.history, network.history)
    model = fit_preferences(table, ~held_out, features, catalogue.n_items, history)
    if not model.knows_something:
        return None, {**model.facts, "states": 0, "warning": NO_KNOWLEDGE}
    sessions = max(2, -(-states // steps))
    users, starts = session_starts(catalogue, replace(settings.distil, sessions=sessions, seed=seed))
    rows = own_targets(model.scores, users, starts, catalogue.n_items, network, steps, wanted.temperature, seed)
    first = min(max(1, round(share * sessions)), sessions - 1) * steps
    order = np.arange(len(rows))
    lesson = Lesson("preference_model", rows.take(order[first:]), rows.take(order[:first]), wanted.weight)
    return lesson, {**model.facts, "states": len(lesson.train), "kept": rows.kept}
