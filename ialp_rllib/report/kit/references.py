"""Which methods a method is compared with: those that have read the same data, or less."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.report.kit.names import method_order

_DATA = ("none", "log", "judge", "both")  # what a method has read; each includes what stands before it
_KNOW_TRAIN_WORLD = frozenset({"best_list", "model_greedy"})  # they ask its user model, which has read the whole log


def is_reference(method: str) -> bool:
    """Whether a method stands in the tables for others to be compared with."""
    return method in METHODS and METHODS[method].reference


def available(method: str, ids: Iterable[str], whole_log: bool = True) -> list[str]:
    """The references and baselines among ``ids`` that have read no more than a method, in the order of the tables.

    A baseline is a method that learns online, or starts from a policy that does, and asks no judge. The log counts as
    read by every method with a judge, since judges are tuned on it.

    Args:
        method: the method; one that is not registered counts as having read everything.
        ids: the methods to choose from.
        whole_log: whether agents see the whole log. If they do not (``catalogue.log_users``, ``catalogue.cold_items``),
            references that ask the train world's user model have read more than any of them.
    """
    read = _DATA.index(METHODS[method].data) if method in METHODS else len(_DATA) - 1
    return [
        name
        for name in method_order(ids)
        if name != method
        and name in METHODS
        and (METHODS[name].reference or METHODS[name].data in ("none", "log"))
        and _DATA.index(METHODS[name].data) <= read
        and (whole_log or name not in _KNOW_TRAIN_WORLD)
    ]


def untrained(ids: Iterable[str]) -> list[str]:
    """The baselines of the publication among ``ids``: they learn online from random weights, without a judge."""
    return [
        name for name in method_order(ids) if name in METHODS and METHODS[name].learns and METHODS[name].data == "none"
    ]
