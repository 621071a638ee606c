"""Data of the judge's tuning: prompts with known answers from this run and other runs, split by user."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.catalogue.split import require_log
from ialp_rllib.commands import SETTINGS, resume_command
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.settings import JudgeSettings, load
from ialp_rllib.storage import MANIFEST

log = logging.getLogger(__name__)

PREPARED = "prepare"  # stage folder of a run


class LabelledPrompts(NamedTuple):
    """Tokenised prompts and their correct labels.

    Attributes:
        ids: n lists of token ids, not padded.
        answers: ``(n,) int64``, token id of the correct label.
    """

    ids: list[list[int]]
    answers: np.ndarray


class TuningData(NamedTuple):
    """Data of a tuning run.

    Attributes:
        train: prompts to train on.
        held_out: prompts of other users, for the validation loss.
        skipped: number of prompts that are too long for the model.
    """

    train: LabelledPrompts
    held_out: LabelledPrompts
    skipped: int

    @property
    def fingerprint(self) -> str:
        """Hash of all tokens, 16 hex digits."""
        digest = hashlib.sha256()
        for prompts in (self.train, self.held_out):
            digest.update(repr((prompts.ids, prompts.answers.tolist())).encode())
        return digest.hexdigest()[:16]


class _Source(NamedTuple):
    """A data set.

    Attributes:
        where: prefix of its error messages; empty for this run.
        judge: the judge's settings for its prompts.
        catalogue: its items and what is visible of its log.
        attributes: item attributes shown in its prompts; empty: all.
    """

    where: str
    judge: JudgeSettings
    catalogue: Catalogue
    attributes: tuple[str, ...]


def tuning_data(
    judge: JudgeSettings, catalogue: Catalogue, tokenizer: PromptTokenizer, attributes: tuple[str, ...] = ()
) -> TuningData:
    """Draw ``judge.tune.interactions`` prompts from each data set: this run's and those of ``judge.tune.also``.

    A fraction ``held_out`` of them comes from users that contribute no training prompt, so that memorisation of users
    shows as a higher held-out loss. All draws are determined by ``judge.seed``.

    Args:
        judge: this run's settings. Candidates, history and fraction of None prompts apply to all data sets.
        catalogue: this run's items and log.
        tokenizer: the model's tokenizer and maximum prompt length.
        attributes: item attributes shown in this run's prompts; empty: all.

    Raises:
        InputError: another run does not exist or is not prepared, a data set is too small, or no prompt fits the model.
    """
    others = [_other_run(judge, name) for name in judge.tune.also]
    sources = [_Source("", judge, catalogue.visible(), attributes), *others]
    train, held_out = LabelledPrompts([], np.zeros(0, np.int64)), LabelledPrompts([], np.zeros(0, np.int64))
    refused: list[str] = []
    for index, source in enumerate(sources):
        rng = np.random.default_rng([judge.seed, 1, index])
        count = min(round(judge.tune.held_out * judge.tune.interactions), judge.tune.interactions - 1)
        train_users, held_out_users = _split(source, judge.tune.held_out if count else 0.0, rng)
        count = count if len(held_out_users) else 0
        train = _add(train, source, train_users, judge.tune.interactions - count, tokenizer, rng, refused)
        held_out = _add(held_out, source, held_out_users, count, tokenizer, rng, refused)
    if refused:
        log.warning("skipping %d tuning prompts; the first has %s", len(refused), refused[0])
    if not train.ids:
        raise InputError("judge.max_length", f"no tuning prompt fits ({refused[0]})", "a larger value")
    return TuningData(train, held_out, len(refused))


def _other_run(judge: JudgeSettings, name: str) -> _Source:
    """The data of another run, with its own wording and rating threshold."""
    folder = Path(name).expanduser()
    where = f"judge.tune.also {name}"
    if not folder.is_dir():
        raise InputError(where, "no such folder", "the folder of a run whose data are prepared by `ialp prepare`")
    if not (folder / SETTINGS).is_file():
        raise InputError(where, f"holds no run (no {SETTINGS})", "the `--out` folder of an earlier `ialp prepare`")
    if not (folder / PREPARED / MANIFEST).is_file():
        problem = "this run's data are not prepared"
        raise InputError(where, problem, f"`{resume_command('prepare', folder)}` first")
    other = load(str(folder / SETTINGS), allow_plugins=None)
    # The rating threshold belongs to that log's scale, as the wording belongs to its items.
    own = {field: getattr(other.judge, field) for field in ("platform", "item_noun", "min_rating")}
    catalogue = read_catalogue(folder / PREPARED).visible()
    return _Source(where, replace(judge, **own), catalogue, other.catalogue.attributes)


def _split(source: _Source, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the users into users to train on and held-out users (none if there are fewer than two users)."""
    catalogue = source.catalogue
    counted = ~(catalogue.rating < source.judge.min_rating)
    long_enough = np.bincount(catalogue.user[counted], minlength=catalogue.n_users) >= 2
    users = rng.permutation(catalogue.train_users[long_enough[catalogue.train_users]])
    count = min(max(round(fraction * len(users)), 1), len(users) - 1) if fraction > 0 and len(users) > 1 else 0
    return np.sort(users[count:]), np.sort(users[:count])


def _add(
    prompts: LabelledPrompts,
    source: _Source,
    users: np.ndarray,
    n: int,
    tokenizer: PromptTokenizer,
    rng: np.random.Generator,
    refused: list[str],
) -> LabelledPrompts:
    """Append n prompts of these users. Reasons why prompts do not fit the model are appended to ``refused``."""
    if n == 0:
        return prompts
    judge = source.judge
    try:
        require_log(source.catalogue, "tuning the judge")
        builder = PromptBuilder(source.catalogue, judge, source.attributes)
        history, candidates, label, _ = draw_examples(
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
    ids, reasons = tokenizer.encode_fitting(builder.build(history, candidates))
    refused += reasons.values()
    answers = np.array(tokenizer.labels)[label[np.array(list(ids), int)]]
    return LabelledPrompts(prompts.ids + list(ids.values()), np.concatenate([prompts.answers, answers]))
