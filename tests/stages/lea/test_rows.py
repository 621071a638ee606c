"""Which rows there are, what they need, and settings of single rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.stages.lea.recommend import part_stage
from ialp_rllib.stages.lea.rows import environments_of, rows_of
from ialp_rllib.stages.lea.specs import row_settings
from ialp_rllib.stages.run import RunFolder, needed_stages


def test_a_row_has_settings_of_its_own() -> None:
    plain = load("sample", ["lea.rows=[item_knn, ce, gru4rec, base]", "lea.offline.dropout=0.2"])
    own = load(
        "sample",
        [
            "lea.rows=[item_knn, ce, gru4rec, base]",
            "lea.offline.dropout=0.2",
            "lea.by_row=[gru4rec-ce.dropout=0.5, snqn.learning_rate=3e-3, gru4rec-ce.width=32]",
        ],
    )
    rows = {row.name: row.settings(own.lea.offline) for row in rows_of(own.lea) if row.objective}
    assert {name: row.dropout for name, row in rows.items()} == {"sasrec-ce": 0.2, "gru4rec-ce": 0.5, "snqn": 0.2}
    assert rows["gru4rec-ce"].width == 32 and rows["gru4rec-ce"].base == "gru4rec"
    assert rows["snqn"].learning_rate == 3e-3 and rows["snqn"].objective == "snqn"
    assert row_settings(own, "sasrec-ce") == row_settings(plain, "sasrec-ce")  # is not trained again
    assert row_settings(own, "snqn") != row_settings(plain, "snqn")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gru4rec-ce.dropout", "ROW.KEY=VALUE"),
        ("dropout=0.5", "ROW.KEY=VALUE"),
        ("sac.dropout=0.5", "a row that is trained: snqn"),
        ("item_knn.dropout=0.5", "a row that is trained"),
        ("snqn.dropuot=0.5", "dropout"),
        ("snqn.dropout=5", "0.95"),
        ("snqn.base=gru4rec", "another setting"),
        ("snqn.ranked_by=q", "another setting"),
    ],
)
def test_what_no_row_has_is_refused(text: str, expected: str) -> None:
    settings = load("sample", [("lea.rows", ["item_knn", "base"]), ("lea.by_row", [text])])
    with pytest.raises(InputError) as error:
        rows_of(settings.lea)
    assert "lea.by_row" in str(error.value) and expected in str(error.value)


def test_rows_and_what_they_need() -> None:
    settings = load("sample", ["lea.rows=[item_knn, ce]"])
    assert needed_stages(settings, "ranking") == ["prepare", "recommend", "ranking"]
    assert environments_of(settings.lea) == ()
    whole = load("sample", ["lea.objectives=[snqn, sa2c]"])
    assert needed_stages(whole, "ranking") == ["prepare", "tokens", "environment", "augment", "recommend", "ranking"]
    names = [row.name for row in rows_of(whole.lea)]
    assert len(names) == len(set(names)) == 6 + 2 * 14 and {"snqn-leasr", "sa2c-noise", "sasrec-eval"} <= set(names)
    for wrong, words in (("rows=[x]", "holds 'x'"), ("rows=[]", "is empty"), ("objectives=[ce]", "holds 'ce'")):
        with pytest.raises(InputError, match="lea") as error:
            rows_of(load("sample", [f"lea.{wrong}"]).lea)
        assert words in str(error.value)


def test_every_row_depends_on_its_own_settings_alone() -> None:
    def prints(*overrides: str) -> dict[str, str]:
        run = RunFolder(load("sample", list(overrides)), Path("x"))
        return {row.name: part_stage(run, row, 0).fingerprint for row in rows_of(run.settings.lea)}

    before = prints()
    weights = prints("lea.offline.augmented_q=0.5")
    assert {name for name in before if before[name] == weights[name]} == {"popularity", "item_knn", "vsknn"}
    head = prints("lea.offline.ranked_by=q")
    assert {"sasrec-ce", "gru4rec-ce", "sasrec-eval"} < {name for name in before if before[name] == head[name]}
    assert before["snqn"] != head["snqn"]
    adapters = prints("lea.environment.rank=4")
    same = {name for name in before if before[name] == adapters[name]}
    assert same == {"popularity", "item_knn", "vsknn", "sasrec-ce", "gru4rec-ce", "snqn", "sasrec-eval"}
