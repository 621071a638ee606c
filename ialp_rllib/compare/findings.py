"""The main results of a comparison in sentences; "better" only if a corrected test supports it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.compare.tables import CLAIMS, format_interval
from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.names import label
from ialp_rllib.results.statistics import BETTER, MIN_SEEDS, NO_DIFFERENCE, NOT_COMPARABLE, TOO_FEW_SEEDS, WORSE

WORLDS = {"test": "test", "valid": "validation"}
"""Value of ``evaluate.world`` -> its name."""
_WHEN = {"0": "before any online step", "1": "after one epoch", "end": "at the end"}


def findings(
    contrasts: pd.DataFrame,
    overall: pd.DataFrame,
    aggregate: pd.DataFrame,
    ratios: pd.DataFrame,
    policy: str,
    world: str = "test",
) -> list[str]:
    """Sentences on the methods and epochs of the publication's claims, the main finding first.

    Args:
        contrasts: see :func:`.estimates.against_best`, with verdicts.
        overall: see :func:`.estimates.against_best_overall`, with verdicts.
        aggregate: see :func:`.estimates.aggregate`.
        ratios: see :func:`.tables.ratios_table`.
        policy: which policy to report.
        world: the world of the measurements.
    """
    rows = contrasts[contrasts["policy"] == policy]
    claims = [(m, e, rows[(rows["method"] == m) & (rows["epoch"] == e)]) for m, e, _ in CLAIMS]
    claims = [(m, e, part) for m, e, part in claims if len(part)]
    if not claims:
        return ["No method that learnt from the judge can be compared with a reference yet."]
    seeds = int(rows["seeds"].max())
    if seeds < MIN_SEEDS:
        count = f"{seeds} seed{'s' if seeds > 1 else ''}"
        sentences = [f"{count}: too few for a verdict, which needs {MIN_SEEDS}; any difference may be due to chance."]
    else:
        text = "; ".join(_claim(method, epoch, part) for method, epoch, part in claims)
        sentences = [f"{text[0].upper()}{text[1:]}."]
    sentences += [_ratios(method, epoch, part) for method, epoch, part in claims]
    sentences += _as_published(ratios[ratios["policy"] == policy])
    sentences += _overall(overall[overall["policy"] == policy])
    sentences += _highest(aggregate[(aggregate["policy"] == policy) & (aggregate["epoch"] == "end")])
    chosen = " at the temperature that the validation world chose" if policy == "sampled" else ""
    sentences.append(f"All results: {WORLDS[world]} world, {policy} policy{chosen}.")
    return [sentence for sentence in sentences if sentence]


def _claim(method: str, epoch: str, rows: pd.DataFrame) -> str:
    """In how many scenarios the method is better than the best reference, and the verdicts in the others."""
    counts = rows["verdict"].value_counts()
    total, better = len(rows), int(counts.get(BETTER, 0))
    names = ", ".join(sorted({label(name) for name in rows["reference"]}))
    text = (
        f"{_WHEN[epoch]}, {label(method)} is better than the best reference with the same data ({names}) in {better} "
    )
    text += f"of {total} scenario{'' if total == 1 else 's'}"
    others = [f"{int(counts[v])} {words}" for v, words in _OTHER_VERDICTS.items() if counts.get(v, 0)]
    return text + (f" ({', '.join(others)})" if others else "")


_OTHER_VERDICTS = {
    WORSE: "worse",
    NO_DIFFERENCE: "with no difference shown",
    TOO_FEW_SEEDS: "with too few seeds",
    NOT_COMPARABLE: "with a run that diverged",
}


def _ratios(method: str, epoch: str, rows: pd.DataFrame) -> str:
    ratios = []
    for _, row in rows.iterrows():
        if np.isfinite(row["ratio"]):
            interval = format_interval(row["ratio_low"], row["ratio_high"])
            text = f"{format_number(row['ratio'])} times {interval} that of {label(row['reference'])}"
            ratios.append(" ".join(f"{text} in {row['scenario']}".split()))
    return f"The return of {label(method)} {_WHEN[epoch]} is {', '.join(ratios)}." if ratios else ""


def _as_published(rows: pd.DataFrame) -> list[str]:
    """The published kind of ratio after one epoch, with the number of updates of both budgets."""
    clauses = []
    for _, row in rows[rows["epoch"] == "1"].iterrows():
        parts = [
            f"{format_number(row[f'{budget}_ratio'])} at equal {budget} "
            f"({format_count(row[f'{budget}_updates'])} updates, {label(row[f'{budget}_baseline'])})"
            for budget in ("samples", "updates")
            if np.isfinite(row[f"{budget}_ratio"])
        ]
        if parts:
            clauses.append(f"{label(row['method'])} in {row['scenario']} {' and '.join(parts)}")
    if not clauses:
        return []
    claimed = next(ratio for _, epoch, ratio in CLAIMS if epoch == "1")
    text = f"As published, after one epoch against the best untrained baseline: {'; '.join(clauses)}"
    return [f"{text} (published: {claimed:g} times)."]


def _overall(rows: pd.DataFrame) -> list[str]:
    """Differences of the normalised returns of the methods of the claims over all scenarios."""
    clauses = []
    for method, epoch, _ in CLAIMS:
        for _, row in rows[(rows["method"] == method) & (rows["epoch"] == epoch)].iterrows():
            if np.isfinite(row["difference"]):
                pair = f"{label(method)} and {label(row['reference'])}"
                interval = format_interval(row["difference_low"], row["difference_high"])
                text = f"the scores of {pair} differ by {row['difference']:+.3g} {interval} {_WHEN[epoch]}"
                clauses.append(" ".join(f"{text} ({row['verdict']})".split()))
    return [f"Over all scenarios, {'; '.join(clauses)}."] if clauses else []


def _highest(rows: pd.DataFrame) -> list[str]:
    known = rows[np.isfinite(rows["score"])]
    if known.empty:
        return []
    best = known.loc[known["score"].idxmax()]
    interval = format_interval(best["score_low"], best["score_high"])
    text = f"{label(best['method'])} has the highest normalised return at the end: {format_number(best['score'])}"
    return [f"{text} {interval}".rstrip() + "."]
