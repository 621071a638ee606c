"""The newest Ray, in a separate environment: without Ray's local mode, --local-mode gives the same results."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
from packaging.version import Version

from ialp_rllib.judge.distillation.preferences import table_hash
from tests.conftest import REPOSITORY
from tests.debugging.session import check, debug, results
from tests.small_run import arguments, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the first test downloads and runs the pipeline twice

# Prints Ray's version and, one per line, the requirements of `ray[rllib,tune]` that are not satisfied.
MISSING = """
from importlib import metadata
from packaging.requirements import Requirement

def satisfied(requirement):
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False

print(metadata.version("ray"))
for requirement in map(Requirement, metadata.requires("ray")):
    extras = [{"extra": extra} for extra in ("", "rllib", "tune")]
    wanted = requirement.marker is None or any(map(requirement.marker.evaluate, extras))
    if wanted and not satisfied(requirement):
        print(str(requirement).partition(";")[0])
"""


def install(site_packages: Path, *requirements: str) -> None:
    """Install packages into a folder without their dependencies; skips the test if the package index is unreachable."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "--retries", "1"]
    command = [*pip, "--target", str(site_packages), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(requirements)}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Interpreter of an environment with the newest Ray and the other packages of the tests' environment."""
    folder = tmp_path_factory.mktemp("newest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site_packages = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    install(site_packages, "ray[rllib,tune]")
    # `addsitedir` appends, so that packages installed in this environment take precedence.
    others = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(REPOSITORY)])
    (site_packages / "others.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in others))
    asked = subprocess.run([str(python), "-c", MISSING], capture_output=True, text=True, check=True)
    version, *missing = asked.stdout.split("\n")[:-1]
    if missing:
        install(site_packages, *missing)
    if Version(version) < Version("2.55"):
        pytest.skip(f"the newest Ray that pip finds is {version}, which still has its local mode")
    return str(python)


def run(python: str, args: list[str]) -> str:
    """Run ``ialp`` with an interpreter and return its output; it must succeed."""
    command = [python, "-m", "ialp_rllib.cli", *args]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    return output


def test_local_mode_runs_in_process_says_so_and_gives_the_same_results(
    newest: str, small_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    output = " ".join(run(newest, arguments(out, "--local-mode")).split())  # without line breaks
    assert "has no local mode" in output and "running in this process without Ray actors or tasks" in output
    assert (out / "report" / "index.html").is_file()
    assert table_hash(out / "distil") == table_hash(small_run / "distil")
    pd.testing.assert_frame_equal(results(out), results(small_run))


@pytest.mark.parametrize("terminal", [True, False])
def test_breakpoints_stop_without_local_mode(newest: str, terminal: bool, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = arguments(out, "--local-mode")
    check(debug(tmp_path, args, terminal=terminal, python=newest), out, "transformers")


def test_a_small_run_gives_the_same_results(newest: str, small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(newest, arguments(out))
    assert table_hash(out / "distil") == table_hash(small_run / "distil")
    pd.testing.assert_frame_equal(results(out), results(small_run))
