"""The preference table as soft labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import PREFERENCES, PreferenceTable, preference_rows
from ialp_rllib.judge.distillation.soft_labels import read_soft_labels

PAD = 9


def table(folder: Path, logprobs: list[list[float]], labels: list[int]) -> PreferenceTable:
    count = len(labels)
    columns: dict[str, Any] = {name: [0] * count for name in PREFERENCES.names}
    columns |= {"session": list(range(count)), "step": [1] * count, "label": labels, "logprobs": logprobs}
    columns |= {"history": [[4, 5, 6]] * count, "candidates": [[1, 2]] * count, "proposal": [[0.0, 0.5]] * count}
    columns |= {"prompt_key": [b"0" * 16] * count, "model_fingerprint": [""] * count}
    columns["prompt_fingerprint"] = columns["model_fingerprint"]
    found = PreferenceTable(folder, {})
    found.finish_wave(0, [preference_rows(columns)])
    return found


def test_probabilities_given_that_the_answer_is_not_none(tmp_path: Path) -> None:
    nan = float("nan")
    rows = [np.log([0.6, 0.2, 0.2]).tolist(), [nan, nan, 0.0], [nan] * 3, np.log([0.25, 0.25, 0.5]).tolist()]
    table(tmp_path, rows, [0, 2, -1, 2])
    found = read_soft_labels(tmp_path, 2, PAD)
    assert found.session.tolist() == [0, 1, 3], "a refused prompt has no answer"
    np.testing.assert_allclose(np.exp(found.logprobs), [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(found.answered, [0.8, 0, 0.5], rtol=1e-6)
    assert found.history.tolist() == [[5, 6]] * 3 and found.proposal.tolist() == [[0.0, 0.5]] * 3


def test_labels_are_corrected_for_how_candidates_were_proposed(tmp_path: Path) -> None:
    rows = [np.log([0.6, 0.2, 0.2]).tolist(), np.log([0.1, 0.4, 0.5]).tolist()]
    table(tmp_path, rows, [0, 2])
    found = read_soft_labels(tmp_path, 2, PAD)
    twice = found._replace(proposal=np.log(np.array([[1.0, 3.0], [2.0, 2.0]], np.float32)))
    np.testing.assert_allclose(twice.labels(), [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    assert twice.labels().dtype == np.float32
    np.testing.assert_allclose(twice._replace(proposal=twice.proposal + 4).labels(), twice.labels(), rtol=1e-6)


def test_a_table_of_before_was_uniform(tmp_path: Path) -> None:
    table(tmp_path, [np.log([0.6, 0.2, 0.2]).tolist()], [0])
    part = tmp_path / "part-00000.parquet"
    pq.write_table(pq.read_table(part).drop_columns("proposal").cast(_without_proposal()), part)
    assert read_soft_labels(tmp_path, 4, PAD).proposal.tolist() == [[0.0, 0.0]]
    PreferenceTable(tmp_path, {"proposals": "uniform"})
    with pytest.raises(InputError, match="a table of another proposals \\(uniform, now mix\\)"):
        PreferenceTable(tmp_path, {"proposals": "mix"})


def _without_proposal() -> pa.Schema:
    return PREFERENCES.remove(PREFERENCES.get_field_index("proposal"))


def test_a_table_of_refusals_is_refused(tmp_path: Path) -> None:
    table(tmp_path, [[float("nan")] * 3], [-1])
    with pytest.raises(InputError, match="holds no answered prompt"):
        read_soft_labels(tmp_path, 4, PAD)
