"""What came out, in words, from the numbers: "better" only where an interval says so."""

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
    """Sentences: first the finding, then what it rests on.

    Args:
        contrasts: see :func:`.estimates.against_baseline`.
        overall: see :func:`.estimates.against_baseline_overall`.
        aggregate: see :func:`.estimates.aggregate`.
        policy: which of the two policies to speak of.
    """
    mine = contrasts[contrasts["policy"] == policy]
    claims = [(m, e, mine[(mine["method"] == m) & (mine["epoch"] == e)]) for m, e, _ in CLAIMS]
    claims = [(m, e, rows) for m, e, rows in claims if len(rows)]
    if not claims:
        return ["No method that learnt from the judge can be compared with a baseline yet."]
    if mine["seeds"].max() < 2:
        sentences = ["One seed: no interval can be given, and any difference may be chance."]
    else:
        found = "; ".join(_claim(method, epoch, rows) for method, epoch, rows in claims)
        sentences = [f"{found[0].upper()}{found[1:]}."]
    sentences += [_ratios(method, epoch, rows) for method, epoch, rows in claims]
    sentences += _overall(overall[overall["policy"] == policy])
    sentences += _highest(aggregate[(aggregate["policy"] == policy) & (aggregate["epoch"] == "end")])
    seeds = sorted({int(n) for n in mine["seeds"]})
    if seeds[-1] >= 2:
        sentences.append(_caution(seeds[0]))
    words = "by sampling" if policy == "sampled" else "greedily"
    sentences.append(f"All figures: test world, policies acting {words}.")
    return [sentence for sentence in sentences if sentence]


def _claim(method: str, epoch: str, rows: pd.DataFrame) -> str:
    """In how many scenarios the method is better than the best baseline, no better, worse."""
    counts = rows["verdict"].value_counts()
    total, better = len(rows), int(counts.get(BETTER, 0))
    others = ", ".join(sorted({label(name) for name in rows["baseline"]}))
    words = f"{_WHEN[epoch]}, {label(method)} is better than the best baseline ({others}) in {better} of {total} "
    words += "scenario" if total == 1 else "scenarios"
    rest = [f"{int(counts[v])} {text}" for v, text in _REST.items() if counts.get(v, 0)]
    return words + (f" ({', '.join(rest)})" if rest else "")


_REST = {
    WORSE: "worse",
    NO_DIFFERENCE: "without a difference shown",
    ONE_SEED: "with one seed",
    NOT_COMPARABLE: "that diverged",
}


def _ratios(method: str, epoch: str, rows: pd.DataFrame) -> str:
    known = [
        f"{format_number(row['ratio'])} times {format_interval(row['ratio_low'], row['ratio_high'])} that of {label(row['baseline'])} "
        f"in {row['scenario']}"
        for _, row in rows.iterrows()
        if np.isfinite(row["ratio"])
    ]
    known = [" ".join(text.split()) for text in known]
    return f"{label(method)}'s return {_WHEN[epoch]} is {', '.join(known)}." if known else ""


def _overall(rows: pd.DataFrame) -> list[str]:
    """P(X > Y) of the methods of the claims, over all scenarios."""
    said = []
    for method, epoch, _ in CLAIMS:
        for _, row in rows[(rows["method"] == method) & (rows["epoch"] == epoch)].iterrows():
            if np.isfinite(row["probability"]):
                low, high = row["probability_low"], row["probability_high"]
                ends = f"[{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
                chance = f"a seed of {label(method)} is above one of {label(row['baseline'])} with probability "
                text = f"{chance}{row['probability']:.2f} {ends} {_WHEN[epoch]} ({row['verdict']})"
                said.append(" ".join(text.split()))
    return [f"Over all scenarios, {'; '.join(said)}."] if said else []


def _highest(rows: pd.DataFrame) -> list[str]:
    known = rows[np.isfinite(rows["score"])]
    if known.empty:
        return []
    best = known.loc[known["score"].idxmax()]
    ends = format_interval(best["score_low"], best["score_high"])
    text = f"The highest normalised return at the end is that of {label(best['method'])}, {format_number(best['score'])} {ends}"
    return [f"{text.rstrip()}."]


def _caution(seeds: int) -> str:
    if seeds >= 5:
        return ""
    if seeds < 2:
        return "Some methods have one seed only: of those no difference can be shown."
    return few_seeds_caution(seeds)
