"""Scenarios of public data sets: sizes, compared with the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.pipeline import run_stage
from ialp_rllib.stages.run import RunFolder

pytestmark = pytest.mark.real_data


def catalogue_of(name: str, folder: Path) -> Catalogue:
    return read_source(load(name, [f"catalogue.data={folder}"]).catalogue)


def test_industry(industry_data: Path, tmp_path: Path) -> None:
    run = RunFolder(load("industry", [f"catalogue.data={industry_data}"]), tmp_path)
    run_stage(run, "prepare", Progress())
    facts = run.facts("prepare")
    assert (facts["users"], facts["items"], facts["interactions"]) == (8317, 4344, 58492)
    assert facts["beside_published"]["items"] == {"ours": 4344, "published": 5814, "ratio": 0.747}
    assert facts["item_texts"]["category"]["missing"] == 131
    assert facts["item_texts"]["brand"]["missing"] == 12 + 3  # "Unknown" is the brand of three
    assert facts["notes"] == [
        "131 of 4,344 items have no category.",
        "15 of 4,344 items have no brand.",
        "3 items have a placeholder such as 'Unknown' as brand, which counts as missing (catalogue.missing_texts).",
    ]
    assert run.catalogue.item_texts["title"][0].startswith("SUPCO SPP6")
    assert sorted(p.name for p in (tmp_path / "prepare").iterdir()) == [
        "interactions.parquet",
        "items.parquet",
        "manifest.json",
        "users.parquet",
    ]


def test_lastfm(lastfm_data: Path) -> None:
    catalogue = catalogue_of("lastfm", lastfm_data)
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.item)) == (976, 4606, 50800)
    assert catalogue.item_texts["artist"][:2].tolist() == ["Morcheeba", "Enigma"]
    lengths = np.diff(catalogue.offsets())
    assert (lengths.min(), lengths.max()) == (4, 986)


def test_games(games_data: Path) -> None:
    catalogue = catalogue_of("games", games_data)
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.item)) == (50597, 16874, 453637)
    problems = validate(load("games", [f"catalogue.data={games_data}"]).catalogue)
    assert [(p.severity, p.count) for p in problems if "more than once" in p.problem] == [("warning", 382)]


def test_coat_sizes_equal_the_published_ones(coat_data: Path, tmp_path: Path) -> None:
    run = RunFolder(load("coat", [f"catalogue.data={coat_data}"]), tmp_path)
    run_stage(run, "prepare", Progress())
    beside = run.facts("prepare")["beside_published"]
    assert {name: size["ratio"] for name, size in beside.items()} == {"items": 1.0, "users": 1.0, "interactions": 1.0}
