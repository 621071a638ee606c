"""Whether a catalogue has the ratings that a setting needs."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.errors import InputError


def check_rated(catalogue: Catalogue, min_rating: float) -> None:
    """Check that there are ratings for ``judge.min_rating`` to heed.

    Raises:
        InputError: it is above 0, and no interaction has a rating.
    """
    if min_rating > 0 and np.isnan(catalogue.rating).all():
        expected = "catalogue.interactions.rating, the column of the ratings; or judge.min_rating not set"
        raise InputError("judge.min_rating", f"is {min_rating:g}, and no interaction has a rating", expected)
