"""The newest Ray, which has no local mode any more, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ialp_rllib.judge.preferences import table_hash
from tests.debugging.test_breakpoints import check, debug
from tests.small_run import arguments, environment, finish

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the newest Ray; all other packages are those of the running one."""
    home = tmp_path_factory.mktemp("newest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "ray"]
    done = subprocess.run(install, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the newest Ray cannot be installed here: {done.stderr.splitlines()[-1]}")
    own = next((home / "lib").glob("python*/site-packages"))
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # read after its own folder: the new Ray wins
    return python


def test_in_process_without_ray_actors(newest: Path, tmp_path: Path) -> None:
    env = {**environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
    version = subprocess.run(
        [str(newest), "-c", "import ray; print(ray.__version__)"], env=env, text=True, capture_output=True, check=True
    ).stdout.strip()
    assert tuple(map(int, version.split(".")[:2])) >= (2, 55)
    out = tmp_path / "here"
    done = subprocess.run(
        [str(newest), "-m", "ialp_rllib.cli", *arguments(out, "--local-mode")],
        env=env,
        text=True,
        capture_output=True,
        timeout=400,
        check=False,
    )
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, printed[-3000:]
    assert f"Ray {version} has no local mode" in printed
    assert "without Ray actors" in printed
    assert (out / "report" / "index.html").is_file()
    finish(arguments(tmp_path / "there"))
    assert table_hash(out / "distil") == table_hash(tmp_path / "there" / "distil")


def test_breakpoints_on_the_newest_ray(newest: Path, tmp_path: Path) -> None:
    check(debug(str(newest), tmp_path / "run", "transformers"), tmp_path / "run")


def test_a_normal_run_on_the_newest_ray(newest: Path, tmp_path: Path) -> None:
    env = {**environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [str(newest), "-m", "ialp_rllib.cli", *arguments(tmp_path / "run")],
        env=env,
        text=True,
        capture_output=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (tmp_path / "run" / "report" / "results.parquet").is_file()
