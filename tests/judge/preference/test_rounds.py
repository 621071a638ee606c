"""Rounds: later candidates are drawn by what earlier answers say, once, whatever interrupts the run."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.index import ExactIndex
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.distil import DistilProgress
from ialp_rllib.judge.distillation.distil import distil as distil_by
from ialp_rllib.judge.distillation.preferences import read_table, table_hash
from ialp_rllib.judge.distillation.soft_labels import read_soft_labels
from ialp_rllib.judge.distillation.waves import waves_of
from ialp_rllib.judge.engines.protocol import InProcessClient
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.preference.rounds import RoundModels
from ialp_rllib.judge.proposals import ItemIndex, Search
from ialp_rllib.settings import DistilSettings, load
from tests.judge.distillation.killed import Killed, stop_after

PLAN = DistilSettings(sessions=40, steps=6, batch=8, rounds=2)
MODEL = "round-00001.json"


def same_genre(prompt: str) -> int:
    """The first candidate of the genre of the session's last track; None where there is none."""
    history, candidates = prompt.split("### Candidates")
    genre = re.findall(r"- \(([^,]+),", history)[-1]
    fitting = [place for place, one in enumerate(re.findall(r"\w\. \(([^,]+),", candidates)) if one == genre]
    return fitting[0] if fitting else 10


@pytest.fixture
def make(sample, catalogue, rule_engine):
    def judge(rule=same_genre) -> LLMJudge:
        return LLMJudge(InProcessClient(rule_engine(rule)), catalogue, sample.judge)

    return judge


def distil(judge, plan, catalogue, folder, progress=lambda now: None, index=None) -> DistilProgress:
    models = RoundModels(folder, plan, catalogue.visible(), judge.settings.history)
    return distil_by(judge, plan, catalogue, folder, progress, index, models.of)


def fitting(catalogue, folder: Path, sessions: range) -> float:
    """Share of candidates that are of the genre of the session's last track."""
    table = read_table(folder).to_pandas()
    rows = table[table.session.isin(sessions)]
    genre = np.asarray(catalogue.item_texts["genre"])
    return float(np.mean([genre[list(c)] == genre[h[-1]] for c, h in zip(rows.candidates, rows.history, strict=True)]))


def test_waves_of_one_round_are_batches_and_a_round_never_shares_one() -> None:
    plan = dataclasses.replace(PLAN, sessions=20, rounds=1)
    users, starts = np.arange(20), np.arange(20) + 100
    (only,) = waves_of(plan, users, starts)
    assert [(w.index, w.sessions.tolist()) for w in only] == [
        (0, [*range(8)]),
        (1, [*range(8, 16)]),
        (2, [*range(16, 20)]),
    ]
    assert only[1].users.tolist() == [*range(8, 16)] and only[1].history[:, 0].tolist() == [*range(108, 116)]
    three = waves_of(dataclasses.replace(plan, rounds=3), users, starts)
    assert [[w.sessions.tolist() for w in waves] for waves in three] == [
        [[*range(6)]],
        [[*range(6, 13)]],
        [[*range(13, 20)]],
    ]
    assert [w.index for waves in three for w in waves] == [0, 1, 2]
    assert [w.round for waves in three for w in waves] == [0, 1, 2]


def test_the_second_round_shows_what_the_first_one_preferred(make, catalogue, tmp_path) -> None:
    assert distil(make(), PLAN, catalogue, tmp_path).asked == 240
    table = read_soft_labels(tmp_path, 10, catalogue.pad)
    first = table.session < 20
    assert not table.proposal[first].any(), "the first round is uniform"
    assert np.ptp(table.proposal[~first], axis=1).min() > 0.1
    before, after = (fitting(catalogue, tmp_path, sessions) for sessions in (range(20), range(20, 40)))
    assert after > 1.5 * before
    # A candidate that the model put there is one that the table says was likely, and of the genre.
    genre = np.asarray(catalogue.item_texts["genre"])
    alike = genre[table.candidates] == genre[table.history[:, -1]][:, None]
    assert table.proposal[~first][alike[~first]].mean() > table.proposal[~first][~alike[~first]].mean() + 1
    (facts,) = RoundModels(tmp_path, PLAN, catalogue.visible(), 10).facts()
    assert (
        facts["used"]
        and facts["rows"] > 0
        and facts["weights"] == json.loads((tmp_path / MODEL).read_text())["facts"]["weights"]
    )


def test_a_run_that_is_killed_in_each_round_asks_nothing_twice(make, catalogue, tmp_path) -> None:
    distil(make(), PLAN, catalogue, tmp_path / "whole")
    judge = make()
    for count in (50, 150, 200):
        with pytest.raises(Killed):
            distil(judge, PLAN, catalogue, tmp_path / "cut", stop_after(count))
        assert (tmp_path / "cut" / MODEL).is_file() == (count > 120), "not before the first round is complete"
    written = (tmp_path / "cut" / MODEL).stat().st_mtime_ns
    assert distil(judge, PLAN, catalogue, tmp_path / "cut").done == 240
    assert judge.client.engine.asked == 240 + 3 * 8, "only the queries in flight are asked again"
    assert (tmp_path / "cut" / MODEL).stat().st_mtime_ns == written
    assert table_hash(tmp_path / "cut") == table_hash(tmp_path / "whole")
    tables = [read_soft_labels(tmp_path / name, 10, catalogue.pad) for name in ("cut", "whole")]
    np.testing.assert_array_equal(tables[0].proposal, tables[1].proposal)
    assert distil(judge, PLAN, catalogue, tmp_path / "cut").asked == 0


def test_the_model_of_a_round_is_read_not_fitted_again(make, catalogue, tmp_path) -> None:
    shown = {}
    for weight in (-100.0, 100.0):
        folder = tmp_path / str(weight)
        with pytest.raises(Killed):
            distil(make(), PLAN, catalogue, folder, stop_after(130))
        path = folder / MODEL
        path.write_text(json.dumps({**json.loads(path.read_text()), "weights": {"same genre": weight}}))
        distil(make(), PLAN, catalogue, folder)
        assert json.loads(path.read_text())["weights"] == {"same genre": weight}
        shown[weight] = fitting(catalogue, folder, range(20, 40))
    assert shown[100.0] > 3 * shown[-100.0], "the rest of the round is drawn by the model in the file"
    path.write_text("{")
    with pytest.raises(InputError, match=r"round-00001\.json: is not the preference model"):
        RoundModels(folder, PLAN, catalogue.visible(), 10).of(1)


def test_a_judge_whose_answers_no_text_explains_is_asked_as_before(make, catalogue, tmp_path, caplog) -> None:
    distil(make(lambda prompt: sum(prompt.encode()) % 10), PLAN, catalogue, tmp_path)
    (facts,) = RoundModels(tmp_path, PLAN, catalogue.visible(), 10).facts()
    assert not facts["used"] and "foretells no held-out answers" in caplog.text
    assert not read_soft_labels(tmp_path, 10, catalogue.pad).proposal.any()


def test_a_table_of_other_rounds_or_another_index_is_refused(make, catalogue, tmp_path) -> None:
    with pytest.raises(Killed):
        distil(make(), PLAN, catalogue, tmp_path, stop_after(16))
    with pytest.raises(InputError, match=r"a table of another rounds \(2, now 3\)"):
        distil(make(), dataclasses.replace(PLAN, rounds=3), catalogue, tmp_path)
    with pytest.raises(InputError, match=r"a table of another index \(None, now \[20, 'exact'\]\)"):
        distil(make(), PLAN, catalogue, tmp_path, index=ItemIndex(20, exact, ("exact",)))


def exact(vectors: np.ndarray, bias: np.ndarray) -> Search:
    index = ExactIndex(torch.from_numpy(vectors), torch.from_numpy(bias))
    return lambda query, count: index.search(torch.from_numpy(query), count).numpy()


def test_rounds_with_an_index(make, catalogue, tmp_path) -> None:
    distil(make(), PLAN, catalogue, tmp_path, index=ItemIndex(40, exact, ("exact",)))
    before, after = (fitting(catalogue, tmp_path, sessions) for sessions in (range(20), range(20, 40)))
    assert after > 1.5 * before


def test_rounds_need_texts_and_two_sessions_each(make, catalogue, tmp_path) -> None:
    with pytest.raises(InputError, match=r"distil\.rounds: is 2, and the items have no text"):
        distil(make(), PLAN, dataclasses.replace(catalogue, item_texts={}), tmp_path)
    with pytest.raises(InputError, match=r"distil\.rounds: is 3, with 5 sessions"):
        load("sample", ["distil.rounds=3", "distil.sessions=5"])
    with pytest.raises(ValueError, match="needs what the later ones draw candidates by"):
        distil_by(make(), PLAN, catalogue, tmp_path)
