"""The images can be built: every layer has the files that its command reads, and nothing else of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import ialp_rllib
from tests.cluster.images import copy_context, is_ignored, layers
from tests.conftest import REPOSITORY

IMAGES = {"Dockerfile": "cpu", "Dockerfile.gpu": "gpu"}
# uv, as install.sh calls it: a lock is installed, or the project in this folder, whose metadata hatchling reads.
UV = """#!/bin/sh
echo "$*" >> uv.log
case "$*" in *"pip freeze"*) grep == requirements/{kind}.lock ;; esac
"""
# Packages that install.sh imports at its end only to show their versions.
SHOWN = ("peft", "ray", "torch", "transformers", "vllm")


def fake_venv(folder: Path, kind: str) -> None:
    """A .venv with this Python and this environment's packages, without pip's and uv's downloads."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    site = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for name in SHOWN:
        (site / f"{name}.py").write_text("__version__ = 'stub'\n")
    for name, text in (("pip", "#!/bin/sh\n"), ("uv", UV.format(kind=kind))):
        program = folder / ".venv" / "bin" / name
        program.write_text(text)
        program.chmod(0o755)


@pytest.mark.parametrize("name", IMAGES)
def test_every_layer_has_what_its_command_reads(name: str, tmp_path: Path) -> None:
    steps = [layer for layer in layers(REPOSITORY / "cluster" / name) if "install.sh" in layer.run]
    packages, project = steps
    fake_venv(tmp_path, IMAGES[name])
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "IALP_PACKAGES_ONLY")}
    environment["PYTHON"] = sys.executable
    for layer in steps:
        copy_context(REPOSITORY, layer.copies, tmp_path)
        done = subprocess.run(
            ["sh", "-ec", layer.run.replace("/home/ray", str(tmp_path / "home"))],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = (tmp_path / "uv.log").read_text()
        assert ("--editable ." in said) == (layer is project)
    assert f"ialp_rllib {ialp_rllib.__version__}" in done.stdout  # the last line of install.sh, from the copied sources
    assert packages.copies == project.copies[: len(packages.copies)]


@pytest.mark.parametrize("name", IMAGES)
def test_the_project_can_be_built_from_what_was_copied(name: str, tmp_path: Path) -> None:
    copy_context(REPOSITORY, layers(REPOSITORY / "cluster" / name)[-1].copies, tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    build = project["tool"]["hatch"]
    files = [project["project"]["readme"], *project["project"]["license-files"], build["version"]["path"]]
    wheel = build["build"]["targets"]["wheel"]
    for path in (*files, *wheel["packages"], *wheel["force-include"]):
        assert (tmp_path / path).exists(), path
    tracked = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "ialp_rllib").rglob("*.py")}
    assert tracked == {path.relative_to(tmp_path) for path in (tmp_path / "ialp_rllib").rglob("*.py")}
    for folder in wheel["force-include"]:  # the sample and its judge are whole
        here = {path.name for path in (REPOSITORY / folder).iterdir()}
        assert here == {path.name for path in (tmp_path / folder).iterdir()}


def test_what_lies_in_a_checkout_stays_out_of_images() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text()
    for path in (
        *("runs/sample/settings.yaml", ".venv/bin/python", ".git/config", "dist/x.whl", "site/index.html"),
        *("data/coat/train.ascii", "data/industry/items.csv.gz", "_data/x", "token", ".env", "notes.parquet"),
        *("auth_token", "shared/data/x.csv", "ialp_rllib/__pycache__/api.pyc", "ialp_rllib/cli/x.pyc"),
        *("ialp_rllib/.mypy_cache/x", ".pytest_cache/v", "tests/conftest.py", "data/sample/.DS_Store"),
    ):
        assert is_ignored(path, ignore), path
    for path in ("ialp_rllib/judge/engines/tokens.py", "requirements/install.sh", "data/sample/items.parquet"):
        assert not is_ignored(path, ignore), path
