"""The differences that the page on the size of the log states come from its benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from log_size import differences


def test_differences_are_paired_by_seed() -> None:
    rows = []
    for seed, fold in enumerate((-3.0, -1.0, 0.0, 1.0, 3.0)):  # what the folds differ by leaves no trace
        own = fold / 10
        rows += [("warm", "", users, seed, 10 + fold) for users in (30, 500)]
        rows += [("ialp_log", "LLM", users, seed, 12 + fold + own) for users in (0, 30, 500)]
        rows += [("ialp", "LLM", 0, seed, 9 + fold), ("ialp", "tfidf", 0, seed, 9.5 + fold)]
    table = pd.DataFrame(rows, columns=["method", "judge", "users", "seed", "return"])
    both = "+2.0 [1.7, 2.3] | 5 |"  # t interval of five: 2.776 * sqrt(0.05 / 5)
    assert differences(table, 500).splitlines()[2:] == [
        f"| both (iALP+log), LLM, less log alone: 30 users | {both}",
        f"| both (iALP+log), LLM, less log alone: all users | {both}",
        "| LLM less tfidf, no log | -0.5 [-0.5, -0.5] | 5 |",
    ]
