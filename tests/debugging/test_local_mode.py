"""``--local-mode`` gives the results of a normal run, and errors end it at once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ialp_rllib.judge.distillation.preferences import table_hash
from tests.debugging.conftest import Debugged
from tests.debugging.session import check, results, run_script
from tests.small_run import arguments

FAILING = '''
"""``ialp`` with a {cls} that fails after {calls} calls."""

import itertools

from ialp_rllib.cli import main as cli
from {module} import {cls}

original, calls = {cls}.{method}, itertools.count()


def broken(*args, **kwargs):
    if next(calls) == {calls}:
        raise ZeroDivisionError("broken on purpose")
    return original(*args, **kwargs)


{cls}.{method} = broken
cli.main()
'''
# Stage, module, class, method and number of calls before the failure. The first evaluation takes at most 40 steps, so
# that call 60 is during training.
BREAKS = {
    "environment": ("adapt", "ialp_rllib.users.env", "UserVectorEnv", "step", 60),
    "learner": ("pretrain", "ialp_rllib.agent.rllib.learner", "IALPLearner", "compute_loss_for_module", 10),
    "judge": ("distil", "ialp_rllib.judge.judge", "LLMJudge", "submit", 2),
}


def test_breakpoints_in_a_terminal(debugged_run: Debugged) -> None:
    check(debugged_run.session, debugged_run.out, "transformers")


def test_a_run_in_local_mode_gives_the_same_results(small_run: Path, debugged_run: Debugged) -> None:
    assert table_hash(debugged_run.out / "distil") == table_hash(small_run / "distil")
    pd.testing.assert_frame_equal(results(debugged_run.out), results(small_run))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["environment", "learner", "judge"])
def test_an_error_ends_the_run_at_once_with_its_own_traceback(part: str, small_run: Path, tmp_path: Path) -> None:
    stage, module, cls, method, calls = BREAKS[part]
    out = tmp_path / "run"
    shutil.copytree(small_run, out)
    shutil.rmtree(out / stage)
    script = FAILING.format(module=module, cls=cls, method=method, calls=calls)
    process = run_script(tmp_path, script, arguments(out, "--local-mode", verb=stage))
    assert process.returncode == 70, process.stdout[-5000:]
    # Where RLlib takes the error for a runner that does not respond, it waits, and ends in another error.
    raised = re.findall(r"^\w[\w.]*(?:Error|Exception)\b.*", process.stdout, re.MULTILINE)
    assert raised and all("ZeroDivisionError" in line for line in raised), process.stdout[-5000:]
    assert "broken on purpose" in raised[-1]
    assert re.search(r'driver\.py", line \d+, in broken', process.stdout)
    assert not (out / stage / "manifest.json").exists()
