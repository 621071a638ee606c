"""Settings of a run that tests one part of the users, as one fold of a study."""

from __future__ import annotations

import dataclasses

from ialp_rllib.settings.scenario import Settings

PART = "{part}"
"""In ``judge.model`` and ``lea.model``, the number of the part: for models that never read the part's test users."""


def parts_of(settings: Settings) -> int:
    """Number of whole parts of the users, by ``catalogue.test_share``."""
    return int(1 / settings.catalogue.test_share + 1e-9)


def of_part(settings: Settings, part: int) -> Settings:
    """The settings with another part of the users as test users, and the models that are for it."""
    return dataclasses.replace(
        settings,
        catalogue=dataclasses.replace(settings.catalogue, test_part=part),
        judge=dataclasses.replace(settings.judge, model=settings.judge.model.replace(PART, str(part))),
        lea=dataclasses.replace(settings.lea, model=settings.lea.model.replace(PART, str(part))),
    )
