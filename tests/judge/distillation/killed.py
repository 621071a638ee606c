"""A distillation that ends in the middle, as if it had been killed."""

from __future__ import annotations

from collections.abc import Callable

from ialp_rllib.judge.distillation.distil import DistilProgress


class Killed(Exception):
    pass


def stop_after(count: int) -> Callable[[DistilProgress], None]:
    """A ``progress`` that ends the distillation when so many queries are answered."""

    def progress(now: DistilProgress) -> None:
        if now.done >= count:
            raise Killed

    return progress
