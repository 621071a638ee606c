"""How good the judge is: what it knows of users' choices, and what it answers for other reasons.

The other reasons are the letter at which a candidate stands, the wording of the instruction, and popularity.
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
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.judge.prompt import letters
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.settings import JudgeSettings

FRAMES = 3  # wordings of the instruction: `judge.frame`
_GROUPS = 4  # of history lengths, and of popularities


class AuditSize(NamedTuple):
    """How many prompts each part of an audit takes.

    Attributes:
        main: with uniform and, in a full audit, as many with popular other candidates.
        rotated: of these, asked again in all other cyclic orders of their candidates.
        reworded: of these, asked again in each other wording.
        total: all that is asked: about 3 * ``audit_prompts``, 0.75 * ``audit_prompts`` if brief.
    """

    main: int
    rotated: int
    reworded: int
    total: int


def audit_size(settings: JudgeSettings, brief: bool = False) -> AuditSize:
    """The cost of an audit of ``settings.audit_prompts`` prompts."""
    n, others = settings.audit_prompts, settings.candidates - 1
    if brief:
        n = -(-n // 2)
    rotated, reworded = max(1, n // (2 * others)), 0 if brief else max(1, n // 4)
    total = n + rotated * others + (0 if brief else n) + reworded * (FRAMES - 1)
    return AuditSize(n, rotated, reworded, total)


def audit_judge(
    judge: PreferenceJudge,
    settings: JudgeSettings,
    catalogue: Catalogue,
    *,
    brief: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Ask prompts of test users, whose answer the log knows, and count.

    ``settings.audit_prompts`` prompts are drawn and asked with uniform other candidates, again with popular ones, some
    of them in all cyclic orders of their candidates, some in each wording of the instruction: about three times as many
    prompts in all (:func:`audit_size`). The same settings give the same prompts, whatever judge is asked.

    Args:
        judge: who is audited, as it answers: with its remedies against letter bias, if any are set.
        settings: of the judge.
        catalogue: items and log.
        brief: ask the first half of the prompts only, with uniform other candidates and in all orders: a quarter of the
            cost, and enough to compare accuracy and letters with those of another model.
        progress: called with prompts asked and prompts in all.

    Returns:
        Plain numbers; shares come with the 95% interval, null where there are no cases.
        - ``prompts`` (answered in the first part), ``asked`` (in all), ``refused`` (of these, e.g. for their length;
          they are left out everywhere), ``seconds``, ``prompts_per_second``, ``chance`` (1 / (k + 1));
        - ``accuracy``: share of right labels; ``accuracy_items``: on prompts that hold the true item;
          ``accuracy_none``: on those that do not;
        - ``none_rate`` (answered) beside ``none_planted``; ``none_precision``: share of the Nones answered that are
          right (``accuracy_none`` is their recall); ``outside_rate``: replies that were no label;
        - ``label_histogram``: share of each of the k + 1 labels among the answers; ``letter_bias``: total variation
          distance (0 to 1) of the letters chosen, None apart, from the uniform ones that an unbiased judge chooses when
          candidates stand in random order; ``letter_bias_by_chance``: what so many unbiased answers show on average,
          ``letter_bias_limit``: what they exceed in one of twenty cases;
        - ``label_entropy``: of the histogram; ``answer_entropy``: mean of the prompts' own distributions (nats);
        - ``calibration``: see :func:`.audit_measures.calibration`;
        - ``position``: see :func:`.audit_measures.positions`; ``permutation_agreement``: its ``agreement``;
        - ``negatives``: ``uniform`` and, unless brief, ``popular``: the accuracies with other candidates so drawn;
          ``by_history`` (items in the prompt's history) and ``by_popularity`` (interactions of the true item), in up to
          four groups each;
        - ``frames``, unless brief: see :func:`_frames`.

    Raises:
        InputError: the data are too small (:func:`.examples.draw_examples`), or all prompts are refused.
    """
    plan = audit_size(settings, brief)
    asking = _Asking(judge, settings, plan.total, progress)
    began = time.perf_counter()
    drawn = _draw(settings, catalogue, plan.main)
    answers = asking.ask(drawn.history, drawn.candidates, drawn.user)
    starts = _group_starts(drawn, catalogue)
    kept = _answered(drawn, answers)
    facts: dict[str, Any] = _labels(*kept, settings)
    facts["negatives"] = {"uniform": _accuracies(*kept, catalogue, starts)}
    facts["position"] = _positions(asking, drawn, answers, plan.rotated)
    facts["permutation_agreement"] = facts["position"]["agreement"]
    if not brief:
        popular = _draw(settings, catalogue, plan.main, popular=True)
        found = _answered(popular, asking.ask(popular.history, popular.candidates, popular.user))
        facts["negatives"]["popular"] = _accuracies(*found, catalogue, starts)
        facts["frames"] = _frames(asking, drawn, answers, plan.reworded, settings.frame)
    seconds = time.perf_counter() - began
    speed = {"asked": asking.asked, "refused": asking.refused, "seconds": seconds}
    return {**speed, "prompts_per_second": asking.asked / seconds, **facts}


class _Asking:
    """Asks a batch at a time, and counts."""

    def __init__(
        self, judge: PreferenceJudge, settings: JudgeSettings, total: int, progress: Callable[[int, int], None]
    ) -> None:
        self._judge, self._total, self._progress = judge, total, progress
        self._size = 2 * settings.replicas * settings.batch  # keeps every engine at work
        self.asked = self.refused = 0

    def ask(self, history: np.ndarray, candidates: np.ndarray, user: np.ndarray, frame: int | None = None) -> Answers:
        """All answers."""
        parts = []
        for start in range(0, len(history), self._size):
            rows = slice(start, start + self._size)
            parts.append(self._judge.answer(history[rows], candidates[rows], frame, users=user[rows]))
            self.asked += len(history[rows])
            self._progress(self.asked, self._total)
        found = Answers(
            label=np.concatenate([p.label for p in parts]),
            item=np.concatenate([p.item for p in parts]),
            reward=np.concatenate([p.reward for p in parts]),
            logprobs=np.concatenate([p.logprobs for p in parts]),
            outside=sum(p.outside for p in parts),
        )
        self.refused += found.refused
        return found


def _draw(settings: JudgeSettings, catalogue: Catalogue, n: int, popular: bool = False) -> Examples:
    """The first n prompts; with popular other candidates they differ in these only."""
    examples = draw_examples(
        catalogue,
        catalogue.test_users,
        settings.audit_prompts,
        settings.candidates,
        settings.tune.none_share,
        np.random.default_rng([settings.seed, 2]),
        history=settings.history,
        min_rating=settings.min_rating,
        popular=popular,
    )
    return Examples(*(column[:n] for column in examples))


def _answered(drawn: Examples, answers: Answers) -> tuple[Examples, Answers]:
    """Without the prompts that were refused."""
    kept = answers.label != REFUSED
    if not kept.any():
        problem = f"all {len(kept)} prompts of a part of the audit were refused; the log says why"
        raise InputError("judge", problem, "prompts that the judge can be asked: judge.max_length, judge.history")
    label, item, reward, logprobs, outside = answers
    found = Answers(label[kept], item[kept], reward[kept], logprobs[kept], outside)
    return Examples(*(column[kept] for column in drawn)), found


def _labels(drawn: Examples, answers: Answers, settings: JudgeSettings) -> dict[str, Any]:
    """What can be said of the answers to the first part."""
    k, n = settings.candidates, len(drawn.label)
    right, planted, none = answers.label == drawn.label, drawn.label == k, answers.label == k
    shares = np.bincount(answers.label, minlength=k + 1) / n
    bias, by_chance, limit = measures.letter_bias(answers.label, k, np.random.default_rng([settings.seed, 4]))
    inside = np.isfinite(answers.logprobs).any(1)
    p = np.exp(np.where(np.isnan(answers.logprobs), -np.inf, answers.logprobs)[inside].astype(float))
    return {
        "prompts": n,
        "chance": 1 / (k + 1),
        "accuracy": float(right.mean()),
        "accuracy_interval": measures.wilson(int(right.sum()), n),
        "accuracy_items": measures.share(right[~planted])["accuracy"],
        "accuracy_none": measures.share(right[planted])["accuracy"],
        "none_rate": float(shares[k]),
        "none_planted": float(planted.mean()),
        "none_precision": measures.share(planted[none])["accuracy"],
        "outside_rate": answers.outside / n,
        "label_histogram": shares.tolist(),
        "letter_bias": bias,
        "letter_bias_by_chance": by_chance,
        "letter_bias_limit": limit,
        "label_entropy": measures.entropy(shares),
        "answer_entropy": float(np.mean([measures.entropy(row) for row in p])) if len(p) else None,
        "calibration": measures.calibration(p.max(1), right[inside]),
    }


def _shown(drawn: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Which prompts hold their true item, and that item."""
    held = drawn.label < drawn.candidates.shape[1]
    return held, drawn.candidates[held, drawn.label[held]]


def _group_starts(drawn: Examples, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """Groups of history lengths, and of popularities of the true item."""
    lengths = (drawn.history != catalogue.pad).sum(1)
    popularity = np.bincount(catalogue.item, minlength=catalogue.n_items)[_shown(drawn)[1]]
    return measures.group_starts(lengths, _GROUPS), measures.group_starts(popularity, _GROUPS)


def _accuracies(
    drawn: Examples, answers: Answers, catalogue: Catalogue, starts: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Overall, on prompts that hold the true item (``items``), and by group."""
    right = answers.label == drawn.label
    lengths = (drawn.history != catalogue.pad).sum(1)
    held, items = _shown(drawn)
    popularity = np.bincount(catalogue.item, minlength=catalogue.n_items)[items]
    return {
        **measures.share(right),
        "items": measures.share(right[held]),
        "by_history": measures.by_group(lengths, right, starts[0]),
        "by_popularity": measures.by_group(popularity, right[held], starts[1]),
    }


def _positions(asking: _Asking, drawn: Examples, answers: Answers, n: int) -> dict[str, Any]:
    """Ask the first n prompts again in all other cyclic orders of their candidates."""
    k = drawn.candidates.shape[1]
    order = letters.cyclic_orders(k, k)
    shown = drawn.candidates[:n][:, order[1:]].reshape(-1, k)
    again = asking.ask(np.repeat(drawn.history[:n], k - 1, 0), shown, np.repeat(drawn.user[:n], k - 1))
    label = np.concatenate([answers.label[:n, None], again.label.reshape(-1, k - 1)], 1)
    return measures.positions(label[(label != REFUSED).all(1)], order)


def _frames(asking: _Asking, drawn: Examples, answers: Answers, n: int, used: int) -> dict[str, Any]:
    """Ask the first n prompts again in the other wordings.

    Returns:
        ``prompts``, ``used`` (the wording that is in use), ``agreement`` (share of prompts with the same answer in all
        wordings) and its ``interval``; ``frames``: of each ``frame``, ``accuracy``, its ``interval``, and ``same``, the
        share of answers that are those in the wording in use.
    """
    first = drawn.history[:n], drawn.candidates[:n], drawn.user[:n]
    found = [answers.label[:n] if frame == used else asking.ask(*first, frame).label for frame in range(FRAMES)]
    label = np.stack(found, 1)
    kept = (label != REFUSED).all(1)
    label, truth = label[kept], drawn.label[:n][kept]
    all_same = measures.share((label == label[:, :1]).all(1))
    frames = [
        {"frame": frame, **measures.share(label[:, frame] == truth), "same": measures.share(same)["accuracy"]}
        for frame, same in enumerate((label == label[:, used, None]).T)
    ]
    agreement = {"agreement": all_same["accuracy"], "interval": all_same["interval"]}
    return {"prompts": len(truth), "used": used, **agreement, "frames": frames}
