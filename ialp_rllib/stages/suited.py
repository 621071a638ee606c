"""What the settings ask of the data: refused as soon as these are prepared, not when a stage hours later needs it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ialp_rllib.agent.methods import chosen_methods
from ialp_rllib.catalogue.split import require_log
from ialp_rllib.errors import InputError
from ialp_rllib.judge.preference.rounds import require_texts
from ialp_rllib.judge.prompt.profiles import require_profiles
from ialp_rllib.stages.run import RunFolder

_ASK = {"tune", "distil", "pretrain", "adapt"}  # stages that may ask the judge


def require_suited(run: RunFolder, stages: Collection[str]) -> None:
    """Check the prepared data against the settings of the stages that are to be run.

    Args:
        run: its catalogue is read only where the settings ask something of it.
        stages: names.

    Raises:
        InputError: the data lack something.
    """
    rows = run.settings.pretrain.preference_model.rows
    if rows > 0 and not {"pretrain", "joint"}.isdisjoint(stages) and not run.catalogue.item_texts:
        problem = f"is {rows}, and the items have no text that a preference model could compare"
        raise InputError("pretrain.preference_model.rows", problem, "0, or items with text columns")
    distil = run.settings.distil
    if distil.rounds > 1 and "distil" in stages and run.settings.pretrain.mode == "table":
        require_texts(distil, run.visible)
    _require_rewards(run, stages)
    judge = run.settings.judge
    if judge.is_llm and judge.profile.shows != "none" and not _ASK.isdisjoint(stages):
        require_profiles(run.visible, judge)


def _require_rewards(run: RunFolder, stages: Collection[str]) -> None:
    """Refuse transitions of a log that is not visible, or whose rewards a user model that knows more would give."""
    adapt = run.settings.adapt
    mixed = adapt.offline_from == "log" and adapt.offline_share > 0
    if "adapt" not in stages or not (adapt.critic == "log" or mixed):
        return
    if not any("adapt.critic" in spec.settings for spec in chosen_methods(run.settings).values()):
        return
    require_log(run.visible, "learning from its transitions")
    whole = not len(run.catalogue.hidden_users) and not len(run.catalogue.cold_items)
    if not whole and not np.isfinite(run.visible.rating).all():
        problem = "is log, which has no ratings, and the user model that would answer knows more of it than is visible"
        expected = "a log with ratings, or catalogue.log_users=-1 and catalogue.cold_items=0"
        raise InputError("adapt.critic" if adapt.critic == "log" else "adapt.offline_from", problem, expected)
