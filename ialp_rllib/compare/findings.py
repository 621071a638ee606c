"""The main results of a comparison in sentences; "better" only if an interval supports it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import CLAIMS
from ialp_rllib.compare.tables import format_interval
from ialp_rllib.report.kit.formatting import few_seeds_caution, format_number
from ialp_rllib.report.kit.names import label
from ialp_rllib.results.statistics import BETTER, NO_DIFFERENCE, NOT_COMPARABLE, ONE_SEED, WORSE

_WHEN = {"0": "before any online step", "1": "after one epoch", "end": "at the end"}


def findings(contrasts: pd.DataFrame, overall: pd.DataFrame, aggregate: pd.DataFrame, policy: str) -> list[str]:
    """Sentences on the methods and epochs of the publication's claims, the main finding first.

    Args:
        contrasts: see :func:`.estimates.against_baseline`.
        overall: see :func:`.estimates.against_baseline_overall`.
        aggregate: see :func:`.estimates.aggregate`.
        policy: ``sampled`` or ``greedy``: which policy to report.
    """
    rows = contrasts[contrasts["policy"] == policy]
    claims = [(m, e, rows[(rows["method"] == m) & (rows["epoch"] == e)]) for m, e, _ in CLAIMS]
    claims = [(m, e, part) for m, e, part in claims if len(part)]
    if not claims:
        return ["No method that learnt from the judge can be compared with a baseline yet."]
    if rows["seeds"].max() < 2:
        sentences = ["One seed: there are no intervals, and any difference may be due to chance."]
    else:
        text = "; ".join(_claim(method, epoch, part) for method, epoch, part in claims)
        sentences = [f"{text[0].upper()}{text[1:]}."]
    sentences += [_ratios(method, epoch, part) for method, epoch, part in claims]
    sentences += _overall(overall[overall["policy"] == policy])
    sentences += _highest(aggregate[(aggregate["policy"] == policy) & (aggregate["epoch"] == "end")])
    seeds = sorted({int(n) for n in rows["seeds"]})
    if seeds[-1] >= 2:
        sentences.append(_caution(seeds[0]))
    sentences.append(f"All results: test world, {policy} policy.")
    return [sentence for sentence in sentences if sentence]


def _claim(method: str, epoch: str, rows: pd.DataFrame) -> str:
    """In how many scenarios the method is better than the best baseline, and the verdicts in the others."""
    counts = rows["verdict"].value_counts()
    total, better = len(rows), int(counts.get(BETTER, 0))
    baselines = ", ".join(sorted({label(name) for name in rows["baseline"]}))
    text = f"{_WHEN[epoch]}, {label(method)} is better than the best baseline ({baselines}) in {better} of {total} "
    text += "scenario" if total == 1 else "scenarios"
    others = [f"{int(counts[v])} {words}" for v, words in _OTHER_VERDICTS.items() if counts.get(v, 0)]
    return text + (f" ({', '.join(others)})" if others else "")


_OTHER_VERDICTS = {
    WORSE: "worse",
    NO_DIFFERENCE: "with no difference shown",
    ONE_SEED: "with one seed",
    NOT_COMPARABLE: "with a run that diverged",
}


def _ratios(method: str, epoch: str, rows: pd.DataFrame) -> str:
    ratios = []
    for _, row in rows.iterrows():
        if np.isfinite(row["ratio"]):
            interval = format_interval(row["ratio_low"], row["ratio_high"])
            text = f"{format_number(row['ratio'])} times {interval} that of {label(row['baseline'])}"
            ratios.append(" ".join(f"{text} in {row['scenario']}".split()))
    return f"The return of {label(method)} {_WHEN[epoch]} is {', '.join(ratios)}." if ratios else ""


def _overall(rows: pd.DataFrame) -> list[str]:
    """P(X > Y) of the methods of the claims over all scenarios."""
    clauses = []
    for method, epoch, _ in CLAIMS:
        for _, row in rows[(rows["method"] == method) & (rows["epoch"] == epoch)].iterrows():
            if np.isfinite(row["probability"]):
                low, high = row["probability_low"], row["probability_high"]
                interval = f"[{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
                pair = f"a seed of {label(method)} scores higher than one of {label(row['baseline'])}"
                text = f"{pair} with probability {row['probability']:.2f} {interval} {_WHEN[epoch]} ({row['verdict']})"
                clauses.append(" ".join(text.split()))
    return [f"Over all scenarios, {'; '.join(clauses)}."] if clauses else []


def _highest(rows: pd.DataFrame) -> list[str]:
    known = rows[np.isfinite(rows["score"])]
    if known.empty:
        return []
    best = known.loc[known["score"].idxmax()]
    interval = format_interval(best["score_low"], best["score_high"])
    text = f"{label(best['method'])} has the highest normalised return at the end: {format_number(best['score'])}"
    return [f"{text} {interval}".rstrip() + "."]


def _caution(seeds: int) -> str:
    if seeds >= 5:
        return ""
    if seeds < 2:
        return "Some methods have one seed only, for which no difference can be shown."
    return few_seeds_caution(seeds)
