"""Guess the settings of a scenario from a folder of tables."""

from ialp_rllib.catalogue.guess.guess import Guess, guess_folder
from ialp_rllib.catalogue.guess.scenario import scenario_text
from ialp_rllib.catalogue.guess.summary import Line, summary

__all__ = ["Guess", "Line", "guess_folder", "scenario_text", "summary"]
