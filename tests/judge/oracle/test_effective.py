"""What a table of an oracle's answers tells about the items, after averaging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.judge.oracle.effective import effective_correlation, true_item_means, win_rates
from ialp_rllib.judge.oracle.oracle import OracleJudge
from ialp_rllib.judge.oracle.truth import RatingTruth
from ialp_rllib.settings import DistilSettings, load
from ialp_rllib.users.sequence import make_model, save_sequence
from tests.judge.oracle.test_oracle import judge_settings
from tests.judge.oracle.test_oracle import rated as rated_sample

rated = rated_sample


def distilled(correlation: float, rated: Catalogue, folder: Path):
    judge = OracleJudge(RatingTruth(rated), judge_settings(correlation=correlation), rated.pad)
    distil(judge, DistilSettings(sessions=512, steps=8), rated, folder)
    return read_table(folder)


def test_independent_errors_average_out_over_a_table(rated: Catalogue, tmp_path: Path) -> None:
    means = true_item_means(rated, load("coat").users, tmp_path)
    assert np.array_equal(means, rated.truth[rated.test_users].mean(0, dtype=float))
    effective = {c: effective_correlation(distilled(c, rated, tmp_path / str(c)), means) for c in (1.0, 0.5, 0.0, -1.0)}
    assert min(effective[1.0], effective[0.5]) > 0.75
    assert abs(effective[0.0]) < 0.2
    assert effective[-1.0] < -0.75


def test_win_rates(rated: Catalogue, tmp_path: Path) -> None:
    table = distilled(1.0, rated, tmp_path)
    rates = win_rates(table, rated.n_items + 1)
    assert np.isnan(rates[-1]) and np.nanmin(rates) >= 0 and np.nanmax(rates) <= 1
    candidates, item = table["candidates"].to_pylist(), table["item"].to_pylist()
    offered = sum(7 in row for row in candidates)
    won = sum(i == 7 and r > 0 for i, r in zip(item, table["reward"].to_pylist(), strict=True))
    assert rates[7] == pytest.approx(won / offered)
    assert effective_correlation(table, np.zeros(rated.n_items)) is None


def test_the_means_of_a_sequence_world_are_first_rewards(sample, catalogue: Catalogue, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = make_model(catalogue, sample.users.sequence)
    with torch.no_grad():
        model.item_bias.weight[:-1].normal_(0, 1.0)
    (tmp_path / "test").mkdir()
    save_sequence(model, sample.users.sequence, tmp_path / "test")
    means = true_item_means(catalogue, sample.users, tmp_path)
    assert means.shape == (catalogue.n_items,) and means.min() > 0 and means.max() < 1
    bias = torch.sigmoid(model.item_bias.weight[:-1, 0]).detach().numpy()
    assert np.corrcoef(means, bias)[0, 1] > 0.9
