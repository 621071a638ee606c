"""What can be recommended, and what users did."""

from ialp_rllib.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from ialp_rllib.catalogue.sources import read_source

__all__ = ["Catalogue", "read_catalogue", "read_source", "write_catalogue"]
