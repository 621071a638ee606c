"""Tables of a ranking report: measures per row, and differences between rows with intervals over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ialp_rllib.results.ranking import BUCKETS, case_measures, popularity_buckets, ranking_measures
from ialp_rllib.results.statistics import holm, paired_bootstrap

MEASURE = "NDCG@10"
"""The measure that rows are compared by."""
KNN = ("item_knn", "vsknn")
MASKED, PLAIN = "rank_masked", "rank"

Array = NDArray[np.float64]
Key = tuple[str, str]
"""Row and head."""


class Difference(NamedTuple):
    """A row less another one in :data:`MEASURE`, of the same users.

    Attributes:
        row, reference: rows.
        value, low, high: the difference and its 95% interval over users.
        p: its p-value, corrected for the others of its group (:func:`ialp_rllib.results.statistics.holm`).
        base: the reference's own value.
    """

    row: str
    reference: str
    value: float
    low: float
    high: float
    p: float
    base: float

    @property
    def better(self) -> bool:
        """Whether the row is shown to be better: the interval is above 0, and p, corrected, below 5%."""
        return self.low > 0 and self.p < 0.05

    @property
    def worse(self) -> bool:
        """Whether the row is shown to be worse."""
        return self.high < 0 and self.p < 0.05


class Scores:
    """The test cases of all rows.

    Args:
        cases: in the schema :data:`ialp_rllib.results.augmented.CASES`, the cases of each row, seed and head in the
            same order.
        column: the rank that counts: :data:`MASKED`, where no user comes back to an item, or :data:`PLAIN`.
        head: the head that ranks where a row has two.
    """

    def __init__(self, cases: pd.DataFrame, column: str, head: str) -> None:
        self._column, self._head = column, head
        self._parts: dict[Key, list[pd.DataFrame]] = {}
        for (row, one, _), part in cases.groupby(["row", "head", "seed"], sort=False):
            self._parts.setdefault((str(row), str(one)), []).append(part)

    @property
    def keys(self) -> list[Key]:
        """Rows and heads, in their order."""
        return list(self._parts)

    @property
    def rows(self) -> list[str]:
        """Rows, in their order."""
        return list(dict.fromkeys(row for row, _ in self._parts))

    def seeds(self, row: str) -> int:
        """Number of seeds of a row."""
        return len(self._parts[self.main(row)])

    def main(self, row: str) -> Key:
        """The row with the head that ranks."""
        known = [head for one, head in self._parts if one == row]
        return row, self._head if self._head in known else known[0]

    def measures(self, key: Key, column: str, last: bool) -> dict[str, float]:
        """Means over cases and seeds."""
        parts = self._parts[key]
        rank = np.concatenate([part[column].to_numpy()[self._kept(part, last)] for part in parts])
        return ranking_measures(rank)

    def by_bucket(self, key: Key, popularity: Array) -> dict[str, float]:
        """HR@10 by popularity of the true item."""
        parts = self._parts[key]
        rank = np.concatenate([part[self._column].to_numpy() for part in parts])
        bucket = popularity_buckets(popularity)[np.concatenate([part["target"].to_numpy() for part in parts])]
        hits = rank < 10
        return {name: float(hits[bucket == b].mean()) for b, name in enumerate(BUCKETS) if (bucket == b).any()}

    def per_case(self, row: str) -> tuple[Array, Array]:
        """:data:`MEASURE` of each case, the mean over the seeds, and the user of each case."""
        parts = self._parts[self.main(row)]
        values = np.mean([case_measures(part[self._column].to_numpy())[MEASURE] for part in parts], axis=0)
        return values, parts[0]["user"].to_numpy()

    def mean(self, row: str) -> float:
        """:data:`MEASURE` of a row."""
        return float(self.per_case(row)[0].mean())

    def differences(self, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
        """Each row less its reference; p-values are corrected for all of them."""
        found = []
        for row, reference in pairs:
            values, users = self.per_case(row)
            base, _ = self.per_case(reference)
            interval, p = paired_bootstrap(values, base, users)
            value, low, high = map(float, interval)  # not NumPy's: verdicts go into manifests
            found.append(Difference(row, reference, value, low, high, float(p), float(base.mean())))
        corrected = holm([one.p for one in found])
        return [one._replace(p=float(p)) for one, p in zip(found, corrected, strict=True)]

    @staticmethod
    def _kept(part: pd.DataFrame, last: bool) -> NDArray[np.bool_]:
        return part["last"].to_numpy() if last else np.ones(len(part), bool)


def best_of(scores: Scores, rows: Sequence[str]) -> str | None:
    """The row with the highest :data:`MEASURE`; None: there is none of them."""
    known = [row for row in rows if row in scores.rows]
    return max(known, key=scores.mean) if known else None


def difference_table(groups: Mapping[str, Sequence[Difference]]) -> pd.DataFrame:
    """All differences, one row each, with their group."""
    return pd.DataFrame(
        [{"group": name, **one._asdict()} for name, found in groups.items() for one in found],
        columns=["group", *Difference._fields],
    )
