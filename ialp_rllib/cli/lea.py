"""``ialp lea``: an LLM as the environment of offline sequential recommenders."""

from __future__ import annotations

from ialp_rllib.cli import console
from ialp_rllib.cli.run import execute


def lea(
    scenario: console.Scenario,
    data: console.Data = None,
    out: console.Out = None,
    set_: console.Set = None,
    local_mode: console.Local = False,
    verbose: console.Verbose = False,
) -> None:
    """Train offline recommenders with an LLM as their environment, beside baselines and controls.

    Stages that are up to date are not run again. The settings are those of the group `lea`.
    """
    execute(scenario, data, out, set_, local_mode, False, verbose, report="ranking")
