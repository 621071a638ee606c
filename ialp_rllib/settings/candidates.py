"""Settings of a policy that chooses among a few items of a large catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class CandidateSettings:
    """Candidates that the policy chooses among in a state, by an index; for catalogues of 100,000 items or more.

    With `count` 0 the policy chooses among all items, and the others are without effect.
    """

    count: int = setting(
        0,
        "Items that the policy chooses among in a state: those of the highest inner product of its vector with item "
        "vectors that an index holds, beside popular ones; 0: all items. For catalogues of 100,000 items or more.",
        low=0,
        high=1 << 20,
        advanced=True,
    )
    index: str = setting(
        "exact",
        "How the index is searched. exact: all vectors, by blocks. faiss: the lists nearest to the state (inverted "
        "file; needs the extra [ann]).",
        choices=("exact", "faiss"),
        advanced=True,
    )
    probes: int = setting(8, "Lists that `index` faiss searches, of about √|A|.", low=1, advanced=True)
    popular: int = setting(
        32,
        "Most popular items that are candidates in every state, beside `count`; more than may be masked.",
        low=1,
        high=1 << 20,
        advanced=True,
    )
    epsilon: float = setting(
        0.01,
        "Probability with which an item is drawn from the whole catalogue in proportion to its popularity^0.75, so "
        "that every item has a positive probability.",
        low=0.0,
        high=0.5,
        advanced=True,
    )
    rebuild: int = setting(2000, "Updates between two rebuilds of the index.", low=1, advanced=True)
