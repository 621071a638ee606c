"""Shared by all tests: where real data lie, one Ray for the whole session, one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # beside other work, workers at Ray's 15 hardly run at all

import torch

from tests.small_run import once_for_all

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("IALP_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that run tests side by side must collect the same ones: no name may hold the address of an object."""
    for item in items:
        assert " at 0x" not in item.nodeid, f"{item.nodeid}: a name for this parameter is missing (ids=)"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small models on shared cores: more threads make results depend on the machine, and are slower."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def coat_data() -> Path:
    """The original Coat archive; tests that need it are skipped where it is not."""
    folder = SHARED_DATA / "coat"
    if not (folder / "train.ascii").is_file():
        pytest.skip("the Coat archive is not here (IALP_TEST_DATA names its parent folder)")
    return folder


def _shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not (folder / "items.csv.gz").is_file():
        pytest.skip(f"the {name} data are not here (IALP_TEST_DATA names their parent folder)")
    return folder


@pytest.fixture(scope="session")
def industry_data() -> Path:
    """Amazon "Industrial and Scientific" as ordered sequences."""
    return _shared("industry")


@pytest.fixture(scope="session")
def lastfm_data() -> Path:
    """Last.fm as ordered sequences of artists."""
    return _shared("lastfm")


@pytest.fixture(scope="session")
def games_data() -> Path:
    """Amazon "Video Games" as ordered sequences with times."""
    return _shared("games")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray on this machine for the whole test session, without dashboard."""
    import ray

    from ialp_rllib.runtime.starting import start_here

    if not ray.is_initialized():
        start_here(num_cpus=2, log_to_driver=False, logging_level="ERROR")
    yield


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run of the sample from the command line, which tests share and do not change."""
    return once_for_all(tmp_path_factory)
