"""How good the judge is, and how much it prefers some letters whatever stands there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.actor import AnyJudge
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.judge.judge import Answers
from ialp_rllib.settings import JudgeSettings

PERMUTATIONS, PERMUTED_PROMPTS = 3, 200


def audit_judge(judge: AnyJudge, settings: JudgeSettings, catalogue: Catalogue) -> dict[str, Any]:
    """Ask ``settings.audit_prompts`` prompts of test users, whose answer the log knows, and count.

    Returns plain numbers:
        - ``prompts``, ``chance`` (1 / (k + 1)), ``seconds``, ``prompts_per_second``;
        - ``accuracy``: share of right labels; ``accuracy_items``: on prompts that hold the true item;
          ``accuracy_none``: on those that do not (null where there are none);
        - ``none_rate`` (answered) beside ``none_planted``; ``outside_rate``: replies that were no label;
        - ``label_histogram``: share of each of the k + 1 labels among the answers; ``letter_bias``: total variation
          distance (0 to 1) of the letters chosen, None apart, from the uniform ones that an unbiased judge chooses when
          candidates stand in random order; ``letter_bias_by_chance``: what so many unbiased answers show on average;
        - ``permutation_agreement``: share of answers that name the same item (or None) when the candidates of a prompt
          are put into another order;
        - ``label_entropy``: of the histogram; ``answer_entropy``: mean of the prompts' own distributions (nats).
    """
    rng = np.random.default_rng([settings.seed, 2])
    examples = draw_examples(
        catalogue,
        catalogue.test_users,
        settings.audit_prompts,
        settings.candidates,
        settings.tune.none_share,
        rng,
        history=settings.history,
        min_rating=settings.min_rating,
    )
    started = time.perf_counter()
    answers = _ask(judge, examples, settings.batch)
    seconds = time.perf_counter() - started
    k, right = settings.candidates, answers.label == examples.label
    planted = examples.label == k
    shares = np.bincount(answers.label, minlength=k + 1) / len(right)
    bias, by_chance = letter_bias(answers.label, k, rng)
    return {
        "prompts": len(right),
        "chance": 1 / (k + 1),
        "seconds": seconds,
        "prompts_per_second": len(right) / seconds,
        "accuracy": float(right.mean()),
        "accuracy_items": float(right[~planted].mean()) if (~planted).any() else None,
        "accuracy_none": float(right[planted].mean()) if planted.any() else None,
        "none_rate": float(shares[k]),
        "none_planted": float(planted.mean()),
        "outside_rate": answers.outside / len(right),
        "label_histogram": shares.tolist(),
        "letter_bias": bias,
        "letter_bias_by_chance": by_chance,
        "permutation_agreement": _permuted_agreement(judge, examples, answers, settings.batch, rng),
        "label_entropy": _entropy(shares),
        "answer_entropy": float(np.mean([_entropy(row) for row in np.exp(answers.logprobs.astype(float))])),
    }


def letter_bias(label: np.ndarray, k: int, rng: np.random.Generator) -> tuple[float, float]:
    """Total variation distance of the letters in ``label`` (None, k, left out) from uniform, and its mean by chance."""
    counts = np.bincount(label[label < k], minlength=k)
    if not counts.sum():
        return 0.0, 0.0
    drawn = rng.multinomial(counts.sum(), np.full(k, 1 / k), size=200)
    distances = np.abs(np.vstack([counts, drawn]) / counts.sum() - 1 / k).sum(1) / 2
    return float(distances[0]), float(distances[1:].mean())


def _permuted_agreement(
    judge: AnyJudge, examples: Examples, answers: Answers, batch: int, rng: np.random.Generator
) -> float:
    """Ask the first prompts again with their candidates in other orders."""
    n = min(PERMUTED_PROMPTS, len(examples.label))
    past, candidates = examples.history[:n], examples.candidates[:n]
    none = candidates.shape[1]
    before = np.where(answers.label[:n] == none, -1, answers.item[:n])
    same = []
    for _ in range(PERMUTATIONS):
        again = _ask(judge, Examples(past, rng.permuted(candidates, axis=1), examples.label[:n]), batch)
        same.append(np.where(again.label == none, -1, again.item) == before)
    return float(np.mean(same))


def _ask(judge: AnyJudge, examples: Examples, batch: int) -> Answers:
    """All answers, a batch at a time."""
    parts = [
        judge.answer(examples.history[i : i + batch], examples.candidates[i : i + batch])
        for i in range(0, len(examples.label), batch)
    ]
    return Answers(
        label=np.concatenate([p.label for p in parts]),
        item=np.concatenate([p.item for p in parts]),
        reward=np.concatenate([p.reward for p in parts]),
        logprobs=np.concatenate([p.logprobs for p in parts]),
        outside=sum(p.outside for p in parts),
    )


def _entropy(shares: np.ndarray) -> float:
    """In nats."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
