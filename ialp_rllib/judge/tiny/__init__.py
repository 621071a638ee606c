"""Training of a tiny judge, for machines without a GPU, from a scenario's own texts and log."""

from ialp_rllib.judge.tiny.make import make_tiny_judge

__all__ = ["make_tiny_judge"]
