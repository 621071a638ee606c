"""What a sweep makes of its trials' records: table, winner, page, and missing trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.errors import IalpError
from ialp_rllib.storage import write_json
from ialp_rllib.sweep.final import UNCHANGED, difference
from ialp_rllib.sweep.page import finding
from ialp_rllib.sweep.plan import Sweep, plan_sweep
from ialp_rllib.sweep.results import collect
from ialp_rllib.sweep.trial import RECORD
from ialp_rllib.sweep.write import write
from tests.report.reading import Page

VARY = ["adapt.alpha.start=[0.1, 0.5, 0.9]", "agent.exploration=[greedy, categorical]"]
SIZED = ["adapt.env_steps=9000", "adapt.epoch_steps=500", "adapt.alpha.steps=2000"]  # rungs: 1,000, 3,000, 9,000


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return plan_sweep("sample", tmp_path, vary=VARY, overrides=SIZED, changes={"stop": "asha", "seeds": 2})


def record(sweep: Sweep, number: int, rungs: dict[int, list[float]], identity: list[str] | None = None) -> None:
    values = sweep.variants[number].values
    own = [stage.fingerprint for stage in sweep.stages(values)]
    folder = sweep.folder(values)
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
    results = collect(sweep)
    assert results.best == sweep.variants[5].values
    assert results.trials["stopped"].tolist() == [False, False, True, True, True, True]
    best = results.trials.iloc[0]
    assert (best["mean"], best["env_steps"], best["seeds"]) == (8.0, 9000, 2)
    half = 12.706 * 1 / np.sqrt(1)  # t of one degree of freedom times the standard error of 7 and 9
    assert (best["low"], best["high"]) == (pytest.approx(8 - half, abs=0.01), pytest.approx(8 + half, abs=0.01))
    assert results.spent == 2 * (4 * 1000 + 2 * 9000) and results.total == 6 * 2 * 9000
    assert len(results.rungs) == 2 * (4 + 2 * 3)


def test_a_trial_without_a_result_is_no_success(sweep: Sweep) -> None:
    with pytest.raises(IalpError, match="6 of 6 trials have no result"):
        collect(sweep)
    fill(sweep)
    record(sweep, 3, {1000: [1.0, 2.0]}, identity=["of", "other settings"])
    with pytest.raises(IalpError, match=r"1 of 6 trials have no result: start=0\.5-exploration=categorical"):
        collect(sweep)
    for number in range(6):
        record(sweep, number, {1000: [1.0, 2.0]})
    with pytest.raises(IalpError, match="no trial ran to the end"):
        collect(sweep)


def test_page_and_files(sweep: Sweep) -> None:
    fill(sweep)
    values = [("winner", 2, 9.0), ("winner", 3, 11.0), (UNCHANGED, 2, 8.0), (UNCHANGED, 3, 9.0)]
    final = pd.DataFrame(values, columns=["settings", "seed", "value"])
    assert difference(final)[0] == 1.5
    results = collect(sweep)._replace(final=final)
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
        write(sweep, collect(sweep))
        pages.add((sweep.out / "index.html").read_bytes())
    assert len(pages) == 1
