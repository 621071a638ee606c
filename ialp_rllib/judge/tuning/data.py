"""What the judge is tuned on: prompts with a known answer, of this run's users and of other runs, some held out."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.settings import JudgeSettings, load
from ialp_rllib.storage import MANIFEST

log = logging.getLogger(__name__)

PREPARED, RESOLVED = "prepare", "settings.yaml"  # what a run leaves, read here of other runs


class LabelledPrompts(NamedTuple):
    """Prompts and what is to be answered.

    Attributes:
        ids: ``n`` lists of token ids, not padded.
        answers: ``(n,) int64``, the token of the right label.
    """

    ids: list[list[int]]
    answers: np.ndarray


class TuningData(NamedTuple):
    """Prompts to train on, prompts of held-out users, and how many prompts did not fit the model."""

    train: LabelledPrompts
    held_out: LabelledPrompts
    skipped: int

    @property
    def fingerprint(self) -> str:
        """Changes with any token."""
        digest = hashlib.sha256()
        for prompts in (self.train, self.held_out):
            digest.update(repr((prompts.ids, prompts.answers.tolist())).encode())
        return digest.hexdigest()[:16]


class _Source(NamedTuple):
    """One data set: where errors place it, its settings, its log, and the attributes shown of its items."""

    where: str
    judge: JudgeSettings
    catalogue: Catalogue
    attributes: tuple[str, ...]


def tuning_data(
    judge: JudgeSettings, catalogue: Catalogue, tokens: PromptTokenizer, attributes: tuple[str, ...] = ()
) -> TuningData:
    """Draw ``judge.tune.interactions`` prompts of each data set: this catalogue's, then those of ``judge.tune.also``.

    A share ``held_out`` of them comes from users of whom nothing else is drawn, so that a model that learns users by
    heart is found out. All draws follow from ``judge.seed``.

    Args:
        judge: this run's settings: candidates, history and share of None are the same for all data sets.
        catalogue: this run's items and log.
        tokens: the tokenizer, and which prompts fit the model.
        attributes: this run's item attributes to show; empty: all.

    Raises:
        InputError: another run is not there or not prepared, a data set is too small, or no prompt fits the model.
    """
    sources = [_Source("", judge, catalogue, attributes), *(_other_run(judge, name) for name in judge.tune.also)]
    train, held_out = LabelledPrompts([], np.zeros(0, np.int64)), LabelledPrompts([], np.zeros(0, np.int64))
    refused: list[str] = []
    for place, source in enumerate(sources):
        rng = np.random.default_rng([judge.seed, 1, place])
        count = min(round(judge.tune.held_out * judge.tune.interactions), judge.tune.interactions - 1)
        learnt_from, measured_by = _split(source, judge.tune.held_out if count else 0.0, rng)
        count = count if len(measured_by) else 0
        train = _add(train, source, learnt_from, judge.tune.interactions - count, tokens, rng, refused)
        held_out = _add(held_out, source, measured_by, count, tokens, rng, refused)
    if refused:
        log.warning("%d tuning prompts are skipped, the first for %s", len(refused), refused[0])
    if not train.ids:
        raise InputError("judge.max_length", f"no tuning prompt fits ({refused[0]})", "prompts that the model can read")
    return TuningData(train, held_out, len(refused))


def _other_run(judge: JudgeSettings, name: str) -> _Source:
    """The data of another run, in its own words."""
    folder = Path(name).expanduser()
    where = f"judge.tune.also {name}"
    if not folder.is_dir():
        raise InputError(where, "no such folder", "the folder of a run whose data are prepared: `ialp prepare` first")
    if not (folder / RESOLVED).is_file() or not (folder / PREPARED / MANIFEST).is_file():
        raise InputError(where, "this run's data are not prepared", f"`ialp prepare` with `--out {name}` first")
    other = load(str(folder / RESOLVED))
    # What counts as liked belongs to the ratings of that log, as its words belong to its items.
    words = {field: getattr(other.judge, field) for field in ("platform", "item_noun", "min_rating")}
    catalogue = read_catalogue(folder / PREPARED)
    return _Source(where, replace(judge, **words), catalogue, other.catalogue.attributes)


def _split(source: _Source, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The train users in two: to learn from, and to measure by (empty where there are too few to tell)."""
    log_ = source.catalogue
    chosen = (log_.split == 0) & ~(log_.rating < source.judge.min_rating)
    long_enough = np.bincount(log_.user[chosen], minlength=log_.n_users) >= 2
    users = rng.permutation(log_.train_users[long_enough[log_.train_users]])
    count = min(max(round(share * len(users)), 1), len(users) - 1) if share > 0 and len(users) > 1 else 0
    return np.sort(users[count:]), np.sort(users[:count])


def _add(
    prompts: LabelledPrompts,
    source: _Source,
    users: np.ndarray,
    n: int,
    tokens: PromptTokenizer,
    rng: np.random.Generator,
    refused: list[str],
) -> LabelledPrompts:
    """``prompts`` and n more of these users; why a prompt does not fit the model goes to ``refused``."""
    if n == 0:
        return prompts
    judge = source.judge
    try:
        builder = PromptBuilder(source.catalogue, judge, source.attributes)
        past, candidates, label, _ = draw_examples(
            source.catalogue,
            users,
            n,
            judge.candidates,
            judge.tune.none_share,
            rng,
            history=judge.history,
            min_rating=judge.min_rating,
        )
    except InputError as error:
        if not source.where:
            raise
        raise InputError(f"{source.where}: {error.where}", error.problem, error.expected) from error
    ids, why_not = tokens.sort_out(builder.build(past, candidates))
    refused += why_not.values()
    answers = np.array(tokens.labels)[label[np.array(list(ids), int)]]
    return LabelledPrompts(prompts.ids + list(ids.values()), np.concatenate([prompts.answers, answers]))
