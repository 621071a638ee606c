"""Effect of a varied setting: the table, the figures, and the section of the page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.compare.analysis import analyse
from ialp_rllib.compare.estimates import with_verdicts
from ialp_rllib.compare.varied import varied_figures, varied_table, varied_text
from ialp_rllib.compare.write import write_comparison
from ialp_rllib.results.statistics import BETTER, NO_DIFFERENCE, TOO_FEW_SEEDS, WORSE
from tests.compare.made_up import made_up
from tests.report.reading import Page

NAMES = {f"coat, start={start}": ("coat", f"start={start}") for start in ("0.1", "0.5", "1")}


def results(levels: dict[str, tuple[float, ...]], method: str = "aialp_ap") -> pd.DataFrame:
    rows = [
        {"scenario": name, "policy": "sampled", "epoch": "end", "method": method, "seed": seed, "return": value}
        for name, values in levels.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def judged(results: pd.DataFrame) -> pd.DataFrame:
    return with_verdicts({"": varied_table(results, NAMES, users_vary=False)}, "sampled")[""].set_index("variant")


def test_each_variant_against_the_best_of_the_others() -> None:
    low, middle, high = NAMES
    plain = {"coat": (9.0, 9.0, 9.0, 9.0, 9.0)}
    levels = {low: (1.0, 1.1, 0.9, 1.0, 1.0), middle: (3.0, 3.2, 2.8, 3.0, 3.0), high: (3.1, 2.9, 3.0, 2.9, 3.0)}
    table = judged(results(levels | plain))
    assert list(table["against"]) == ["start=0.5", "start=1", "start=0.5"]
    assert list(table["verdict"]) == [WORSE, NO_DIFFERENCE, NO_DIFFERENCE]
    assert table.loc["start=0.1", "difference"] == pytest.approx(-2.0)
    assert table.loc["start=0.1", "difference_low"] < -2.0 < table.loc["start=0.1", "difference_high"] < 0
    assert (table["scenario"] == "coat").all()
    two = judged(results({low: levels[low], high: levels[high]}))
    assert two.loc["start=1", "verdict"] == BETTER
    assert judged(results({low: (1.0, 1.1), high: (3.0, 3.1)})).loc["start=1", "verdict"] == TOO_FEW_SEEDS


def test_equal_results_are_left_out_and_a_variant_with_a_diverged_run_is_never_the_best() -> None:
    low, middle, high = NAMES
    both = pd.concat(
        [
            results({low: (1.0, 2.0), middle: (1.0, 2.0)}, "a2c"),
            results({low: (1.0, 1.2), middle: (2.0, 2.2), high: (np.nan, 9.0)}),
        ]
    )
    table = judged(both)
    assert set(table["method"]) == {"aialp_ap"}
    assert table.loc["start=0.1", "against"] == "start=0.5"
    assert table.loc["start=1", "verdict"] == "cannot be compared"
    head, rows = varied_text(table.reset_index())
    assert len(head) == len(rows[0])
    assert rows[2][6] == "–"


def test_page_and_files(tmp_path) -> None:
    measured = made_up(tuple(NAMES), ("a2c", "aialp_ap"), seeds=3, variants=NAMES)
    analysis = analyse(measured)
    assert list(varied_figures(analysis.summary, NAMES, "sampled")) == ["coat"]
    write_comparison(measured, tmp_path)
    page = Page((tmp_path / "index.html").read_text())
    assert "Varied settings" in page.text and "Best other variant" in page.text
    assert {path.name for path in (tmp_path / "figures").glob("varied*")} == {
        f"varied-0-epoch-{epoch}.svg" for epoch in ("0", "1", "end")
    }
    assert set(pd.read_csv(tmp_path / "varied.csv")["variant"]) == {"start=0.1", "start=0.5", "start=1"}
    plain = tmp_path / "plain"
    write_comparison(made_up(("coat",), ("a2c", "aialp_ap"), seeds=2), plain)
    assert "Varied settings" not in (plain / "index.html").read_text() and not (plain / "varied.csv").exists()
