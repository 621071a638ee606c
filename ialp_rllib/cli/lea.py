"""``ialp lea``: an LLM as the environment of offline sequential recommenders."""

from __future__ import annotations

from ialp_rllib.cli import console, crash


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
    console.configure_logging(verbose)
    crash.remember(shown=verbose or local_mode)
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.stages.pipeline import run_all
    from ialp_rllib.stages.run import needed_stages

    run = console.open_run(scenario, data, out, set_, local_mode)
    crash.remember(run.root, shown=verbose or local_mode)
    try:
        with Bars(console.messages, plain=local_mode) as bars:
            run_all(run, bars, needed_stages(run.settings, "ranking"))
    finally:
        runtime.stop()
    console.print_path("Report", run.root / "ranking" / "index.html")
