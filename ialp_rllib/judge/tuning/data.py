"""Data of the judge's tuning: prompts with known answers or lists of items, of this run and others, split by user."""

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
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.tuning.sequences import Sequences, draw_windows, encode_windows
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


Lessons = LabelledPrompts | Sequences


class TuningData(NamedTuple):
    """Data of a tuning run.

    Attributes:
        train: prompts or sequences to train on.
        held_out: those of other users, for the validation loss.
        skipped: number of those that are too long for the model.
        easier: prompts for the first passes, with fewer candidates, one after the other.
    """

    train: Lessons
    held_out: Lessons
    skipped: int
    easier: tuple[Lessons, ...] = ()

    def of_pass(self, epoch: int) -> Lessons:
        """What is learned in a pass, counted from 0."""
        return self.easier[epoch] if epoch < len(self.easier) else self.train

    @property
    def fingerprint(self) -> str:
        """Hash of all tokens, 16 hex digits."""
        digest = hashlib.sha256()
        for lessons in (self.train, self.held_out, *self.easier):
            digest.update(repr((lessons.ids, lessons[1].tolist())).encode())
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
    """Draw ``judge.tune.interactions`` of each data set: this run's and those of ``judge.tune.also``.

    With objective `label` each becomes a prompt; with `sequence` the lists of items hold so many. A fraction
    ``held_out`` of them comes from users that contribute nothing to the training, so that memorisation of users shows
    as a higher held-out loss. All draws are determined by ``judge.seed``.

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
    nothing = (LabelledPrompts if judge.tune.objective == "label" else Sequences)([], np.zeros(0, np.int64))
    train, held_out, easier = nothing, nothing, [nothing] * _easier_passes(judge)
    refused: list[str] = []
    for index, source in enumerate(sources):
        rng = np.random.default_rng([judge.seed, 1, index])
        count = min(round(judge.tune.held_out * judge.tune.interactions), judge.tune.interactions - 1)
        train_users, held_out_users = _split(source, judge.tune.held_out if count else 0.0, rng)
        count = count if len(held_out_users) else 0
        train = _add(train, source, train_users, judge.tune.interactions - count, tokenizer, rng, refused)
        held_out = _add(held_out, source, held_out_users, count, tokenizer, rng, refused)
        for number, lessons in enumerate(easier):
            few = 2 + (judge.candidates - 2) * number // len(easier)
            fewer = source._replace(judge=replace(source.judge, candidates=few))
            own = np.random.default_rng([judge.seed, 7, index, number])
            easier[number] = _add(lessons, fewer, train_users, judge.tune.interactions - count, tokenizer, own, [])
    if refused:
        log.warning("skipping %d tuning prompts; the first has %s", len(refused), refused[0])
    if not train.ids:
        raise InputError("judge.max_length", f"no tuning prompt fits ({refused[0]})", "a larger value")
    return TuningData(train, held_out, len(refused), tuple(easier))


def _easier_passes(judge: JudgeSettings) -> int:
    return judge.tune.curriculum if judge.tune.objective == "label" else 0


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
    lessons: Lessons,
    source: _Source,
    users: np.ndarray,
    n: int,
    tokenizer: PromptTokenizer,
    rng: np.random.Generator,
    refused: list[str],
) -> Lessons:
    """Append n interactions of these users. Reasons why some do not fit the model are appended to ``refused``."""
    if n == 0:
        return lessons
    try:
        require_log(source.catalogue, "tuning the judge")
        draw = _prompts if isinstance(lessons, LabelledPrompts) else _sequences
        more, reasons = draw(source, users, n, tokenizer, rng)
    except InputError as error:
        if not source.where:
            raise
        raise InputError(f"{source.where}: {error.where}", error.problem, error.expected) from error
    refused += reasons
    return type(lessons)(lessons.ids + more.ids, np.concatenate([lessons[1], more[1]]))


def _prompts(
    source: _Source, users: np.ndarray, n: int, tokenizer: PromptTokenizer, rng: np.random.Generator
) -> tuple[Lessons, list[str]]:
    judge = source.judge
    builder = PromptBuilder(source.catalogue, judge, source.attributes)
    history, candidates, label, drawn = draw_examples(
        source.catalogue,
        users,
        n,
        judge.candidates,
        judge.tune.none_share,
        rng,
        history=judge.history,
        min_rating=judge.min_rating,
    )
    ids, reasons = tokenizer.encode_fitting(builder.build(history, candidates, drawn, learnt_from=True))
    answers = np.array(tokenizer.labels)[label[np.array(list(ids), int)]]
    return LabelledPrompts(list(ids.values()), answers), list(reasons.values())


def _sequences(
    source: _Source, users: np.ndarray, n: int, tokenizer: PromptTokenizer, rng: np.random.Generator
) -> tuple[Lessons, list[str]]:
    windows = draw_windows(source.catalogue, users, n, source.judge, rng)
    return encode_windows(windows, LineBuilder(source.catalogue, source.judge, source.attributes), tokenizer)
