"""A judge with a chat template is asked in both forms: with the template, and without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ialp_rllib.judge.answers import REFUSED, Answers
from ialp_rllib.judge.audit import measures
from ialp_rllib.judge.engines.tokens import CHAT
from ialp_rllib.judge.examples import Examples
from ialp_rllib.judge.protocol import PreferenceJudge


def compare_forms(
    ask: Callable[..., Answers],
    judges: tuple[PreferenceJudge, PreferenceJudge],
    examples: Examples,
    answers: Answers,
    n: int,
) -> dict[str, Any]:
    """Ask the first n prompts again in the other form.

    Args:
        ask: history, candidates, users and ``judge`` -> answers.
        judges: the judge in the form in use, and the same in the other form.
        examples: the prompts.
        answers: the first judge's answers to them.
        n: number of prompts to ask again.

    Returns:
        ``prompts``; ``used``: ``chat`` or ``raw``; ``agreement``: fraction of prompts with the same answer in both
        forms, with its ``interval``; ``forms``: of ``chat`` and ``raw`` each ``form``, ``accuracy`` and its
        ``interval``, on the same prompts.
    """
    again = ask(examples.history[:n], examples.candidates[:n], examples.user[:n], judge=judges[1])
    label, truth = np.stack([answers.label[:n], again.label], 1), examples.label[:n]
    kept = (label != REFUSED).all(1)
    label, truth = label[kept], truth[kept]
    names = [judge.info()["form"] for judge in judges]
    forms = [{"form": name, **measures.accuracy_summary(label[:, i] == truth)} for i, name in enumerate(names)]
    same = measures.accuracy_summary(label[:, 0] == label[:, 1])
    return {
        "prompts": len(truth),
        "used": names[0],
        "agreement": same["accuracy"],
        "interval": same["interval"],
        "forms": sorted(forms, key=lambda row: row["form"] != CHAT),
    }
