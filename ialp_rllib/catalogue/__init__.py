"""The data of a scenario: items, users, and the interaction log."""

from ialp_rllib.catalogue.catalogue import Catalogue

__all__ = ["Catalogue"]
