"""What can be recommended, and what users did."""

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.describe import describe
from ialp_rllib.catalogue.disk import read_catalogue, write_catalogue
from ialp_rllib.catalogue.problems import Problem
from ialp_rllib.catalogue.sources.read import read_source, source_files
from ialp_rllib.catalogue.validate import validate

__all__ = [
    "Catalogue",
    "Problem",
    "describe",
    "read_catalogue",
    "read_source",
    "source_files",
    "validate",
    "write_catalogue",
]
