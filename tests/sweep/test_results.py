"""What a sweep makes of its trials' records: table, winner, page, and missing trials."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.compare.variants import Variant
from ialp_rllib.errors import IalpError
from ialp_rllib.storage import write_json
from ialp_rllib.sweep.final import UNCHANGED, difference
from ialp_rllib.sweep.page import finding, remarks
from ialp_rllib.sweep.plan import Sweep, plan_sweep
from ialp_rllib.sweep.results import collect
from ialp_rllib.sweep.trial import RECORD, identity_of, read_record, train_to
from ialp_rllib.sweep.write import write
from tests.report.reading import Page

VARY = ["adapt.alpha.start=[0.1, 0.5, 0.9]", "agent.exploration=[greedy, categorical]"]
SIZED = ["adapt.env_steps=9000", "adapt.epoch_steps=500", "adapt.alpha.steps=2000"]  # rungs: 1,000, 3,000, 9,000


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return plan_sweep("sample", tmp_path, vary=VARY, overrides=SIZED, changes={"stop": "asha", "seeds": 2})


def record(sweep: Sweep, number: int, rungs: dict[int, list[float]], identity: list[str] | None = None) -> None:
    write_record(sweep, sweep.variants[number].values, rungs, identity)


def write_record(
    sweep: Sweep, values: dict[str, Any], rungs: dict[int, list[float]], identity: list[str] | None = None
) -> None:
    folder, own = sweep.folder(values), identity_of(sweep, values)
    folder.mkdir(parents=True, exist_ok=True)
    data = {"values": values, "identity": identity or own, "rungs": {str(step): v for step, v in rungs.items()}}
    write_json(folder / RECORD, data)


def fill(sweep: Sweep) -> None:
    """Two trials run to the end; of the four that were stopped one was ahead of them where it was."""
    for number in range(6):
        base = float(number)
        rungs = {1000: [base, base + 1]}
        if number >= 4:
            rungs |= {3000: [base + 1, base + 2], 9000: [base + 2, base + 4]}
        record(sweep, number, rungs if number != 2 else {1000: [90.0, 91.0]})


def test_the_winner_is_the_best_of_those_that_ran_to_the_end(sweep: Sweep) -> None:
    assert sweep.rungs == (1000, 3000, 9000)
    fill(sweep)
    results = collect(sweep, sweep.variants)
    assert results.best == sweep.variants[5].values
    assert results.trials["stopped"].tolist() == [False, False, True, True, True, True]
    best = results.trials.iloc[0]
    assert (best["mean"], best["env_steps"], best["seeds"]) == (8.0, 9000, 2)
    half = 12.706 * 1 / np.sqrt(1)  # t of one degree of freedom times the standard error of 7 and 9
    assert (best["low"], best["high"]) == (pytest.approx(8 - half, abs=0.01), pytest.approx(8 + half, abs=0.01))
    assert results.spent == 2 * (4 * 1000 + 2 * 9000) and results.total == 6 * 2 * 9000
    assert len(results.rungs) == 2 * (4 + 2 * 3)


def test_the_order_in_which_trials_ran_is_not_in_the_tables(sweep: Sweep) -> None:
    """A killed sweep goes on with what is missing: its trials end in another order."""
    fill(sweep)
    one, two = collect(sweep, sweep.variants), collect(sweep, sweep.variants[::-1])
    pd.testing.assert_frame_equal(one.trials, two.trials)
    pd.testing.assert_frame_equal(one.rungs, two.rungs)


def test_a_trial_without_a_result_is_no_success(sweep: Sweep) -> None:
    with pytest.raises(IalpError, match="6 of 6 trials have no result"):
        collect(sweep, sweep.variants)
    fill(sweep)
    record(sweep, 3, {1000: [1.0, 2.0]}, identity=["of", "other settings"])
    with pytest.raises(IalpError, match=r"1 of 6 trials have no result: start=0\.5, exploration=categorical"):
        collect(sweep, sweep.variants)
    for number in range(6):
        record(sweep, number, {1000: [1.0, 2.0]})
    with pytest.raises(IalpError, match="no trial ran to the end"):
        collect(sweep, sweep.variants)


def searched(out: Path, **changes: Any) -> Sweep:
    """A sweep whose trials are known when a searcher has proposed them."""
    vary = ["adapt.alpha.start=[0.1, 0.5]", "agent.entropy=loguniform(0.01, 1)"]
    return plan_sweep("sample", out, vary=vary, overrides=SIZED, changes={"search": "optuna", "seeds": 1, **changes})


def test_a_search_that_ended_early_is_no_success_and_older_trials_are_not_mixed_in(tmp_path: Path) -> None:
    older, now = searched(tmp_path, seed=1, trials=2), searched(tmp_path, trials=3)
    proposed = [Variant({"adapt.alpha.start": 0.1, "agent.entropy": entropy}) for entropy in (0.1, 0.2, 0.3, 0.4)]
    for number, variant in enumerate(proposed):
        write_record(older if number == 3 else now, variant.values, {9000: [float(number)]})
    with pytest.raises(IalpError, match="1 of 3 trials did not run"):
        collect(now, proposed[:2])
    results = collect(now, proposed[:3])
    assert results.trials["agent.entropy"].tolist() == [0.3, 0.2, 0.1]
    with pytest.raises(IalpError, match=r"1 of 3 trials have no result: start=0\.1, entropy=0\.4"):
        collect(now, proposed[1:])  # its record is of the other sweep
    again = collect(now, [*proposed[:2], proposed[0]])
    assert len(again.trials) == 2
    assert "1 of 3 trials proposed the values of another one: they are one row each." in remarks(now, again)


def test_another_metric_or_other_rungs_are_not_read_from_an_older_record(sweep: Sweep, tmp_path: Path) -> None:
    fill(sweep)
    for changes in ({"stop": "none"}, {"stop": "asha", "metric": "length@end"}):
        other = plan_sweep("sample", tmp_path, vary=VARY, overrides=SIZED, changes={"seeds": 2, **changes})
        with pytest.raises(IalpError, match="6 of 6 trials have no result"):
            collect(other, other.variants)


def test_a_trial_with_the_values_of_another_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Tune starts both at once; the second one reports what the first one has measured."""
    sweep = searched(tmp_path, seeds=2)
    trained, begun, go_on = list[int](), threading.Event(), threading.Event()

    def train(settings: Any, root: str, stage: Any, method: str, seed: int, until: int) -> list[str]:
        trained.append(seed)
        begun.set()
        assert go_on.wait(60)
        return []

    monkeypatch.setattr("ialp_rllib.sweep.trial.train_job", train)
    monkeypatch.setattr("ialp_rllib.sweep.trial.measured", lambda stage, rung, measure: 4.0)
    values = {"adapt.alpha.start": 0.1, "agent.entropy": 0.2}
    reported: list[list[float]] = []
    trials = [threading.Thread(target=lambda: reported.append(train_to(sweep, values, 9000))) for _ in range(2)]
    trials[0].start()
    assert begun.wait(60)
    begun.clear()
    trials[1].start()
    assert not begun.wait(0.3), "the second one trains, too"
    go_on.set()
    for trial in trials:
        trial.join()
    assert reported == [[4.0, 4.0]] * 2 and trained == [0, 1]
    assert read_record(sweep.folder(values))["rungs"] == {"9000": [4.0, 4.0]}


def test_page_and_files(sweep: Sweep) -> None:
    fill(sweep)
    values = [("winner", 2, 9.0), ("winner", 3, 11.0), (UNCHANGED, 2, 8.0), (UNCHANGED, 3, 9.0)]
    final = pd.DataFrame(values, columns=["settings", "seed", "value"])
    assert difference(final)[0] == 1.5
    results = collect(sweep, sweep.variants)._replace(final=final)
    write(sweep, results)
    page = Page((sweep.out / "index.html").read_text())
    text = " ".join(page.text.split())
    assert "start=0.9, exploration=categorical has the highest return@end in the validation world: 8.00" in text
    assert "in the test world, it differs from the unchanged settings by 1.50" in text
    assert "4 trials were stopped early; 41% of the environment steps of all trials were spent." in text
    assert "Fewer than five seeds: no verdict." in text
    assert "winner 10.0 9.00, 11.0 unchanged settings 8.50 8.00, 9.00" in text
    again = pd.read_parquet(sweep.out / "trials.parquet")
    assert again["adapt.alpha.start"].tolist()[:2] == [0.9, 0.9]
    assert "being the highest of many, this number is too high" in finding(sweep, results._replace(final=None))


def test_equal_results_give_equal_pages(sweep: Sweep) -> None:
    fill(sweep)
    pages = set()
    for _ in range(2):
        write(sweep, collect(sweep, sweep.variants))
        pages.add((sweep.out / "index.html").read_bytes())
    assert len(pages) == 1
