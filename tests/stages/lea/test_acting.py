"""The recommender of `ialp lea` before simulated users, and as start of an agent, by the command line."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.lea.recommend import recommender_cpu_seconds
from ialp_rllib.stages.run import RunFolder, needed_stages
from tests.small_run import arguments, finish
from tests.stages.lea.small import SMALL

LEA = dict(text.split("=", 1) for text in SMALL if text.startswith("lea."))


def test_it_needs_the_stages_of_lea_and_no_judge() -> None:
    names = needed_stages(load("sample", ["adapt.methods=[lea]"]))
    assert names == [*("prepare", "tokens", "environment", "augment", "recommend", "users", "adapt", "report")]
    for override, words in (("lea.offline.le_to=both", "no states of the LLM"), ("lea.rows=[base]", "has no leasr")):
        for changes in (["adapt.methods=[lea]"], ["adapt.methods=[ialp]", "pretrain.source=lea"]):
            with pytest.raises(InputError, match=words):
                needed_stages(load("sample", [*changes, override]))


def test_another_recommender_is_measured_again() -> None:
    """Also what starts from it: a policy that learnt from another teacher is another policy."""

    def prints(*overrides: str) -> list[str]:
        run = RunFolder(load("sample", ["pretrain.source=lea", "lea.rows=[leasr]", *overrides]), Path("x"))
        return [job_stage(run, name, 0).fingerprint for name in ("a2c", "lea", "aialp_ft")]

    same = [a == b for a, b in zip(prints(), prints("lea.offline.width=32"), strict=True)]
    assert same == [True, False, False]


@pytest.mark.slow
def test_it_is_judged_in_the_worlds_beside_the_agent_that_starts_from_it(tmp_path: Path) -> None:
    settings = {**LEA, "lea.rows": "[leasr]", "pretrain.source": "lea", "adapt.methods": "[lea, aialp_ft]"}
    finish(arguments(tmp_path, **{key.replace(".", "__"): value for key, value in settings.items()}))
    results = pq.read_table(tmp_path / "report" / "results.parquet").to_pandas()
    first = results[results["epoch"] == "0"].set_index(["method", "policy"])["return"]
    assert {(name, policy) for name in ("lea", "aialp_ft") for policy in ("greedy", "sampled")} <= set(first.index)
    assert (first > 0).all()
    run = RunFolder(load(str(tmp_path / "settings.yaml")), tmp_path)
    assert 0 < recommender_cpu_seconds(run, 0) < 3600
    page = (tmp_path / "report" / "index.html").read_text()
    assert "A-iALP_ft+lea" in page and "LEA" in page
