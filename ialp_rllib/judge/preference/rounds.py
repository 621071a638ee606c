"""Rounds of a distillation: what the judge has answered decides what it is asked about next.

After each round a preference model (:mod:`ialp_rllib.judge.preference.model`) is fitted to the answers so far. In the
next round it draws half of the candidates: items that a policy which learns from these answers would rank high.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.controls.similarity import Scorer
from ialp_rllib.judge.distillation.soft_labels import SoftLabels, read_soft_labels
from ialp_rllib.judge.distillation.waves import sessions_before
from ialp_rllib.judge.preference.model import PreferenceModel, fit_preferences, text_similarities
from ialp_rllib.judge.proposals import Preference
from ialp_rllib.settings import DistilSettings
from ialp_rllib.storage import read_json, write_json

log = logging.getLogger(__name__)

_HELD_OUT = 10  # one session in so many is not fitted to, and tells whether the model knows anything


class RoundModels:
    """The preference models of a table's rounds, in files beside its answers.

    A model is fitted once and read afterwards, so that an interrupted run goes on with the very same one.

    Args:
        folder: the table's folder.
        plan: numbers of sessions and rounds.
        catalogue: what is visible of it.
        history: number of recent items that the judge is shown.

    Raises:
        InputError: there is more than one round, and items have no text.
    """

    def __init__(self, folder: Path, plan: DistilSettings, catalogue: Catalogue, history: int) -> None:
        self._folder, self._plan, self._catalogue, self._history = folder, plan, catalogue, history
        self._known: dict[int, PreferenceModel | None] = {0: None}
        require_texts(plan, catalogue)

    @cached_property
    def _features(self) -> dict[str, Scorer]:
        return text_similarities(self._catalogue.item_texts)

    def of(self, round_: int) -> Preference | None:
        """What is expected to be preferred in a round, from 0; None: nothing is, as in the first one.

        The rounds before it must be complete when it is asked for first.

        Raises:
            InputError: a file is damaged.
        """
        model = self._model(round_)
        return None if model is None or not model.knows_something else model.scores_of

    def facts(self) -> list[dict[str, Any]]:
        """Of the model of each round after the first: its facts, and whether it is ``used``."""
        models = [self._model(round_) for round_ in range(1, self._plan.rounds)]
        return [{"used": False} if m is None else {"used": m.knows_something, **m.facts} for m in models]

    def _model(self, round_: int) -> PreferenceModel | None:
        if round_ not in self._known:
            self._known[round_] = self._read_or_fit(round_)
        return self._known[round_]

    def _read_or_fit(self, round_: int) -> PreferenceModel | None:
        path = self._folder / f"round-{round_:05d}.json"
        if not path.is_file():
            model = self._fit(round_)
            write_json(path, None if model is None else {"weights": model.weights, "facts": model.facts})
            return model
        try:
            found = read_json(path)
            if found is None:
                return None
            weights, facts = found["weights"], found["facts"]
        except (InputError, KeyError, TypeError) as error:
            expected = "the file as it was written; delete it to fit the model of this round again"
            raise InputError(str(path), "is not the preference model of a round", expected) from error
        return PreferenceModel(self._features, weights, facts, self._catalogue.n_items, self._history)

    def _fit(self, round_: int) -> PreferenceModel | None:
        """None where too few prompts were answered."""
        table = read_soft_labels(self._folder, self._history, self._catalogue.pad)
        earlier = table.session < sessions_before(self._plan, round_)
        table = SoftLabels(*(column[earlier] for column in table))
        held_out = np.isin(table.session, np.unique(table.session)[::_HELD_OUT])
        if not held_out.any() or held_out.all():
            log.warning("round %d: too few answers for a preference model", round_ + 1)
            return None
        model = fit_preferences(table, ~held_out, self._features, self._catalogue.n_items, self._history)
        if not model.knows_something:
            log.warning("round %d: the preference model foretells no held-out answers, and is not used", round_ + 1)
        return model


def require_texts(plan: DistilSettings, catalogue: Catalogue) -> None:
    """Refuse rounds without texts, which the preference model compares.

    Raises:
        InputError: items have none.
    """
    if plan.rounds > 1 and not catalogue.item_texts:
        problem = f"is {plan.rounds}, and the items have no text that a preference model could compare"
        raise InputError("distil.rounds", problem, "1, or items with text columns")
