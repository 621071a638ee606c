"""The committed sample and tiny judge are what their scripts make, small, and as described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from ialp_rllib import settings
from ialp_rllib.catalogue.sources.read import read_source

DATA = Path(__file__).parents[2] / "data"


def test_the_script_makes_the_committed_tables(tmp_path):
    subprocess.run([sys.executable, DATA / "make_sample.py", "--out", tmp_path], check=True, capture_output=True)
    for name in ("items", "interactions", "users"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == (DATA / "sample" / f"{name}.parquet").read_bytes()


def test_the_sample_is_as_described():
    catalogue = read_source(settings.load("sample").catalogue)
    assert (catalogue.n_items, catalogue.n_users) == (300, 1000)
    assert [len(set(values)) for values in catalogue.item_texts.values()] == [12, 40, 10]
    offsets = catalogue.offsets()
    for user in range(catalogue.n_users):
        items = catalogue.item[offsets[user] : offsets[user + 1]]
        assert 10 <= len(items) <= 16
        assert len(set(items.tolist())) == len(items)
    assert sum(f.stat().st_size for f in (DATA / "sample").iterdir()) < 1_000_000


def test_the_tiny_judge_is_a_small_mistral():
    folder = DATA / "tiny_judge"
    assert sum(f.stat().st_size for f in folder.iterdir()) < 8_000_000
    assert '"MistralForCausalLM"' in (folder / "config.json").read_text()
    with safe_open(folder / "model.safetensors", "numpy") as weights:
        count = sum(weights.get_tensor(name).size for name in weights.keys())  # noqa: SIM118
    assert 500_000 <= count <= 2_000_000
