"""What builds the prompts of a form, one for each wording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import JudgeSettings

B = TypeVar("B")


class Frames(Generic[B]):
    """Builders by wording (``judge.frame``), each made when it is first asked for.

    Args:
        make: makes a builder from a catalogue, settings and attributes.
        catalogue: items and their texts.
        settings: the judge's; ``frame`` is the wording that None stands for.
        attributes: item attributes shown; empty: all.
    """

    def __init__(
        self,
        make: Callable[[Catalogue, JudgeSettings, tuple[str, ...]], B],
        catalogue: Catalogue,
        settings: JudgeSettings,
        attributes: tuple[str, ...],
    ) -> None:
        self._make, self._catalogue, self._settings, self._attributes = make, catalogue, settings, attributes
        self._builders: dict[int, B] = {}

    def __call__(self, frame: int | None) -> B:
        """The builder of a wording; None: of the settings'."""
        frame = self._settings.frame if frame is None else frame
        if frame not in self._builders:
            settings = replace(self._settings, frame=frame)
            self._builders[frame] = self._make(self._catalogue, settings, self._attributes)
        return self._builders[frame]
