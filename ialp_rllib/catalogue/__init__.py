"""What can be recommended, and what users did."""

from ialp_rllib.catalogue.catalogue import Catalogue

__all__ = ["Catalogue"]
