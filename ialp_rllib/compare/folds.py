"""Parts of the users that the seeds of a comparison are tested on."""

from __future__ import annotations

import dataclasses

from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings
from ialp_rllib.settings.parts import of_part, parts_of


def by_part(settings: Settings, fixed_split: bool) -> dict[str, Settings]:
    """Name -> settings of the run for each test part, with the seeds that are tested on it.

    Seed s is tested on part s modulo their number, the whole part of 1 / ``catalogue.test_share``: with as many seeds,
    every user is a test user once if that is a whole number.

    Args:
        settings: of the scenario, with all seeds.
        fixed_split: one run for all seeds, on ``catalogue.test_part``; as if there is one seed.

    Raises:
        InputError: the test share leaves only one part.
    """
    if fixed_split or len(settings.seeds) == 1:
        return {settings.scenario: of_part(settings, settings.catalogue.test_part)}
    share, count = settings.catalogue.test_share, parts_of(settings)
    if count < 2:
        problem = f"is {share:g}, so that there is one part of test users only"
        raise InputError("catalogue.test_share", problem, "at most 0.5, or --fixed-split")
    parts = {}
    for part in range(min(count, len(settings.seeds))):
        own = dataclasses.replace(settings, seeds=settings.seeds[part::count])
        parts[f"{settings.scenario}, part {part}"] = of_part(own, part)
    return parts
