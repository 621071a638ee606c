"""Audit of a judge: accuracy on held-out users, and dependence on what should not matter.

That is the letter of a candidate, the wording of the instruction, and popularity.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import REFUSED, Answers
from ialp_rllib.judge.audit import measures
from ialp_rllib.judge.audit.forms import compare_forms
from ialp_rllib.judge.choosing import split_users
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.prompt import letters
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.results.statistics import is_above_chance
from ialp_rllib.settings import LETTER, JudgeSettings

FRAMES = 3  # number of wordings of the instruction: `judge.frame`
_GROUPS = 4  # groups of history lengths, and of popularities


class AuditSize(NamedTuple):
    """Number of prompts of each part of an audit.

    Attributes:
        main: with uniform negatives; a full audit asks as many with popular negatives.
        rotated: of these, asked again in all other cyclic orders of their candidates.
        reworded: of these, asked again in each other wording; of a judge with a chat template also in the other form.
        total: prompts in all: about 3 * ``audit_prompts``, or 0.75 * ``audit_prompts`` if brief.
    """

    main: int
    rotated: int
    reworded: int
    total: int


def audit_size(settings: JudgeSettings, brief: bool = False, forms: int = 1, letters: bool = True) -> AuditSize:
    """Number of prompts of an audit with ``settings.audit_prompts``.

    Args:
        settings: the judge's.
        brief: see :func:`audit_judge`.
        forms: in how many forms (chat template, none) the judge can be asked.
        letters: whether its candidates have letters, whose order may matter.
    """
    n, others = settings.audit_prompts, settings.candidates - 1
    if brief:
        n = -(-n // 2)
    rotated, reworded = max(1, n // (2 * others)) if letters else 0, 0 if brief else max(1, n // 4)
    total = n + rotated * others + (0 if brief else n) + reworded * (FRAMES - 1 + forms - 1)
    return AuditSize(n, rotated, reworded, total)


def audit_judge(
    judge: PreferenceJudge,
    settings: JudgeSettings,
    catalogue: Catalogue,
    *,
    brief: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a judge on prompts of validation users, whose true next item is in the log.

    ``settings.audit_prompts`` prompts are asked with uniform negatives and again with popular negatives, some of them
    in all cyclic orders of their candidates, and some in each wording of the instruction: about three times as many
    prompts in all (:func:`audit_size`). The same settings give the same prompts for every judge. A judge that was
    calibrated on validation users is asked about the others only (:func:`.split_users`); where candidates have no
    letters, the parts on letters and on the order of the candidates are left out.

    Args:
        judge: the judge, including its corrections of letter bias if any are set.
        settings: the judge's settings.
        catalogue: items and the whole log; of it the rows of validation users and of the visible log are used.
        brief: ask only the first half of the prompts, with uniform negatives and in all orders: a quarter of the cost,
            enough to compare accuracy and letter bias with another model.
        progress: called with the number of prompts asked so far and in total.

    Returns:
        Plain numbers; fractions come with 95% intervals and are null where there are no cases. Refused prompts are
        left out everywhere.

        - ``prompts`` (answered in the main part), ``asked`` (in all), ``refused`` (of these), ``seconds``,
          ``prompts_per_second``, ``candidates`` (k), ``chance`` (1 / (k + 1));
        - ``accuracy``: fraction of correct labels; ``accuracy_items``: on prompts that contain the true item;
          ``accuracy_none``: on the others; ``above_chance``: whether the interval of ``accuracy_items`` is above 1 / k
          (:func:`ialp_rllib.results.statistics.is_above_chance`);
        - ``none_rate``: fraction of prompts answered None; ``none_planted``: fraction whose correct label is None;
          ``none_precision``: fraction of None answers that are correct (``accuracy_none`` is their recall);
          ``outside_rate``: fraction of outputs that contain no label;
        - ``label_histogram``: fraction of each of the k + 1 labels among the answers; ``letter_bias``,
          ``letter_bias_by_chance``, ``letter_bias_limit``: see :func:`.measures.letter_bias`;
        - ``label_entropy``: entropy of the histogram; ``answer_entropy``: mean entropy of the label distributions
          (nats);
        - ``calibration``: see :func:`.measures.calibration`;
        - ``position``: see :func:`.measures.position_bias`; ``permutation_agreement``: its ``agreement``;
        - ``negatives``: accuracies with ``uniform`` and, unless brief, ``popular`` negatives; ``by_history`` (number of
          items in the history) and ``by_popularity`` (interactions of the true item), in up to four groups each;
        - ``frames``, unless brief: see :func:`_frames`;
        - ``forms``, unless brief, of a judge with a chat template: see :func:`.compare_forms`.

    Raises:
        InputError: the data set is too small (:func:`.examples.draw_examples`), or all prompts are refused.
    """
    other = judge.in_other_form() if isinstance(judge, LLMJudge) and not brief else None
    lettered = not isinstance(judge, LLMJudge) or judge.answer_form.name == LETTER
    size = audit_size(settings, brief, 1 if other is None else 2, lettered)
    catalogue = catalogue.of_users(np.union1d(catalogue.log_users, catalogue.valid_users))
    queries = _Queries(judge, settings, size.total, progress)
    began = time.perf_counter()
    examples = _draw(settings, catalogue, size.main)
    answers = queries.ask(examples.history, examples.candidates, examples.user)
    starts = _group_starts(examples, catalogue)
    answered = _answered(examples, answers)
    facts: dict[str, Any] = _label_statistics(*answered, settings)
    facts["negatives"] = {"uniform": _accuracies(*answered, catalogue, starts)}
    if lettered:
        facts |= measures.letter_statistics(answered[1].label, settings.candidates, settings.seed)
        facts["position"] = _position_bias(queries, examples, answers, size.rotated)
        facts["permutation_agreement"] = facts["position"]["agreement"]
    if not brief:
        popular = _draw(settings, catalogue, size.main, popular=True)
        answered = _answered(popular, queries.ask(popular.history, popular.candidates, popular.user))
        facts["negatives"]["popular"] = _accuracies(*answered, catalogue, starts)
        facts["frames"] = _frames(queries, examples, answers, size.reworded, settings.frame)
    if other is not None:
        facts["forms"] = compare_forms(queries.ask, (judge, other), examples, answers, size.reworded)
    seconds = time.perf_counter() - began
    cost = {"asked": queries.asked, "refused": queries.refused, "seconds": seconds}
    return {**cost, "prompts_per_second": queries.asked / seconds, **facts}


class _Queries:
    """Queries the judge in batches and counts prompts."""

    def __init__(
        self, judge: PreferenceJudge, settings: JudgeSettings, total: int, progress: Callable[[int, int], None]
    ) -> None:
        self._judge, self._total, self._progress = judge, total, progress
        self._batch = 2 * settings.replicas * settings.batch  # keeps all engines busy
        self.asked = self.refused = 0

    def ask(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        user: np.ndarray,
        frame: int | None = None,
        judge: PreferenceJudge | None = None,
    ) -> Answers:
        """Answers to n queries, see :meth:`.PreferenceJudge.answer`; of another judge than this one's if given."""
        parts, judge = [], judge or self._judge
        for start in range(0, len(history), self._batch):
            rows = slice(start, start + self._batch)
            parts.append(judge.answer(history[rows], candidates[rows], frame, users=user[rows]))
            self.asked += len(history[rows])
            self._progress(self.asked, self._total)
        answers = Answers(
            label=np.concatenate([p.label for p in parts]),
            item=np.concatenate([p.item for p in parts]),
            reward=np.concatenate([p.reward for p in parts]),
            logprobs=np.concatenate([p.logprobs for p in parts]),
            outside=sum(p.outside for p in parts),
        )
        self.refused += answers.refused
        return answers


def _draw(settings: JudgeSettings, catalogue: Catalogue, n: int, popular: bool = False) -> Examples:
    """The first n of the audit's examples. Uniform and popular ones differ in their negatives only."""
    examples = draw_examples(
        catalogue,
        split_users(catalogue, settings)[1],
        settings.audit_prompts,
        settings.candidates,
        settings.tune.none_share,
        np.random.default_rng([settings.seed, 2]),
        history=settings.history,
        min_rating=settings.min_rating,
        popular=popular,
    )
    return Examples(*(column[:n] for column in examples))


def _answered(examples: Examples, answers: Answers) -> tuple[Examples, Answers]:
    """Examples and answers without the refused prompts."""
    kept = answers.label != REFUSED
    if not kept.any():
        problem = f"all {len(kept)} prompts of a part of the audit were refused; see the log for the reason"
        raise InputError("judge", problem, "prompts that fit the model: judge.max_length, judge.history")
    label, item, reward, logprobs, outside = answers
    kept_answers = Answers(label[kept], item[kept], reward[kept], logprobs[kept], outside)
    return Examples(*(column[kept] for column in examples)), kept_answers


def _label_statistics(examples: Examples, answers: Answers, settings: JudgeSettings) -> dict[str, Any]:
    """Accuracy, None, entropy and calibration of the main part, see :func:`audit_judge`."""
    k, n = settings.candidates, len(examples.label)
    correct, planted, none = answers.label == examples.label, examples.label == k, answers.label == k
    inside = np.isfinite(answers.logprobs).any(1)
    p = np.exp(np.where(np.isnan(answers.logprobs), -np.inf, answers.logprobs)[inside].astype(float))
    return {
        "prompts": n,
        "candidates": k,
        "chance": 1 / (k + 1),
        "accuracy": float(correct.mean()),
        "accuracy_interval": measures.wilson(int(correct.sum()), n),
        "above_chance": is_above_chance(int(correct[~planted].sum()), int((~planted).sum()), 1 / k),
        "accuracy_items": measures.accuracy_summary(correct[~planted])["accuracy"],
        "accuracy_none": measures.accuracy_summary(correct[planted])["accuracy"],
        "none_rate": float(none.mean()),
        "none_planted": float(planted.mean()),
        "none_precision": measures.accuracy_summary(planted[none])["accuracy"],
        "outside_rate": answers.outside / n,
        "answer_entropy": float(np.mean([measures.entropy(row) for row in p])) if len(p) else None,
        "calibration": measures.calibration(p.max(1), correct[inside]),
    }


def _true_items(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """``(n,) bool``, which prompts contain the true item, and these items."""
    shown = examples.label < examples.candidates.shape[1]
    return shown, examples.candidates[shown, examples.label[shown]]


def _group_starts(examples: Examples, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """Boundaries of the groups of history lengths, and of popularities of the true item."""
    lengths = (examples.history != catalogue.pad).sum(1)
    popularity = np.bincount(catalogue.item, minlength=catalogue.n_items)[_true_items(examples)[1]]
    return measures.group_starts(lengths, _GROUPS), measures.group_starts(popularity, _GROUPS)


def _accuracies(
    examples: Examples, answers: Answers, catalogue: Catalogue, starts: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Accuracy overall, on prompts that contain the true item (``items``), and by group."""
    correct = answers.label == examples.label
    lengths = (examples.history != catalogue.pad).sum(1)
    shown, items = _true_items(examples)
    popularity = np.bincount(catalogue.item, minlength=catalogue.n_items)[items]
    return {
        **measures.accuracy_summary(correct),
        "items": measures.accuracy_summary(correct[shown]),
        "by_history": measures.by_group(lengths, correct, starts[0]),
        "by_popularity": measures.by_group(popularity, correct[shown], starts[1]),
    }


def _position_bias(queries: _Queries, examples: Examples, answers: Answers, n: int) -> dict[str, Any]:
    """Ask the first n prompts again in all other cyclic orders of their candidates."""
    k = examples.candidates.shape[1]
    order = letters.cyclic_orders(k, k)
    rotated = examples.candidates[:n][:, order[1:]].reshape(-1, k)
    repeated = queries.ask(np.repeat(examples.history[:n], k - 1, 0), rotated, np.repeat(examples.user[:n], k - 1))
    label = np.concatenate([answers.label[:n, None], repeated.label.reshape(-1, k - 1)], 1)
    return measures.position_bias(label[(label != REFUSED).all(1)], order)


def _frames(queries: _Queries, examples: Examples, answers: Answers, n: int, used: int) -> dict[str, Any]:
    """Ask the first n prompts again in the other wordings of the instruction.

    Returns:
        ``prompts``; ``used``: index of the wording in use; ``agreement``: fraction of prompts with the same answer in
        all wordings, with its ``interval``; ``frames``: for each wording ``frame``, ``accuracy``, its ``interval``, and
        ``same``, the fraction of answers that equal those of the wording in use.
    """
    first = examples.history[:n], examples.candidates[:n], examples.user[:n]
    labels = [answers.label[:n] if frame == used else queries.ask(*first, frame).label for frame in range(FRAMES)]
    label = np.stack(labels, 1)
    kept = (label != REFUSED).all(1)
    label, truth = label[kept], examples.label[:n][kept]
    all_same = measures.accuracy_summary((label == label[:, :1]).all(1))
    frames = [
        {
            "frame": frame,
            **measures.accuracy_summary(label[:, frame] == truth),
            "same": measures.accuracy_summary(same)["accuracy"],
        }
        for frame, same in enumerate((label == label[:, used, None]).T)
    ]
    agreement = {"agreement": all_same["accuracy"], "interval": all_same["interval"]}
    return {"prompts": len(truth), "used": used, **agreement, "frames": frames}
