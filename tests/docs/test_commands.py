"""Every command, setting, scenario and piece of Python in README.md and docs/ is one that exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs import checks
from tests.docs.python import check_python
from tests.docs.reading import NAMES, PAGES, Page

LANGUAGES = {"bash", "python", "yaml", "text", "json"}
TABLES = (
    "docs/results/tables/"  # written by docs/results/export_tables.py at the commit that they name: never changed later
)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks(page: Page, tmp_path: Path) -> None:
    problems = []
    for block in page.blocks:
        if block.language not in LANGUAGES:
            problems.append(f"{block.where}: the language {block.language!r} is none of {sorted(LANGUAGES)}")
        found: list[str] = []
        if block.language == "bash":
            found = checks.check_shell(block.text)
        elif block.language == "python":
            found = check_python(block.text)
        elif block.language == "yaml":
            found = checks.check_yaml(block.text, tmp_path)
        problems += [f"{block.where}: {problem}" for problem in found]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.name.startswith(TABLES)], ids=lambda page: page.name
)
def test_code_in_running_text(page: Page) -> None:
    problems = [f"{code}: {problem}" for code in page.codes for problem in checks.check_code(code)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ialp run sample --sett seeds=[0]", "No such option"),
        ("ialp runn sample", "no verb 'runn'"),
        ("ialp data fetch coat", "no verb 'fetch'"),
        ("ialp run sample extra", "unexpected extra argument"),
        ("ialp run simple", "no scenario 'simple'"),
        ("ialp run sample --set agent.gama=0.9", "agent.gamma?"),
        ("ialp run sample --set agent.gamma=2", "to 0.9999"),
        ("ialp run sample --set 'adapt.methods=[a3c]'", "no method 'a3c'"),
        ("ialp compare sample --seeds many", "--seeds"),
        ("ialp compare coat --data coat=DIR --set coat:judge.modle=oracle", "judge.model?"),
        ("ialp compare sample --vary 'agent.exploration=[greedy, bold]'", "bold"),
        ("ialp compare sample --methods a2c,iapl", "no method 'iapl'"),
        ("make demoo", "no target 'demoo'"),
        ("python benchmarks/coat_cap.py --data DIR", "there is no benchmarks/coat_cap.py"),
        ("python benchmarks/coat_caps.py --date DIR", "no option --date"),
        ("FOO=1 ipal run sample", "'ipal'"),
    ],
)
def test_a_wrong_command_is_noticed(text: str, problem: str) -> None:
    [found] = checks.check_shell(text)
    assert problem in found


@pytest.mark.parametrize(
    "text",
    [
        "ialp run sample --set 'seeds=[0, 1]' --out runs/x  # a comment",
        "cd x && .venv/bin/ialp run coat --data DIR \\\n  --set judge.model=oracle",
        "PYTHONPATH=tests/agent ialp run sample --set 'adapt.plugins=[soft_q]' --set 'adapt.methods=[soft_q]'",
        "ialp compare coat --data coat=DIR --set coat:judge.model=FOLDER --vary 'adapt.alpha.steps=[5000, 15000]'",
        "cluster/submit.sh sample --out /shared/runs/sample",
        "cluster/submit.sh sweep tune_experiments/alpha/study.yaml --out /shared/runs/alpha --stop asha",
        "PYTHON=python3.12 make venv",
    ],
)
def test_a_right_command_is_taken(text: str) -> None:
    assert checks.check_shell(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("from ialp_rllib.agent import nothing", "no nothing"),
        ("import ialp_rllib.nothing", "ialp_rllib.nothing"),
        ("import ialp_rllib\nialp_rllib.nothing()", "no nothing"),
        ("import nosuchmodule", "no module"),
        ("x = (", "line 1"),
    ],
)
def test_wrong_python_is_noticed(text: str, problem: str) -> None:
    assert problem in check_python(text)[0]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("judge.modle", "no setting"),
        ("judge.batch=many", "judge.batch"),
        ("judge.tunes.*", "no setting"),
        ("ialp judge init --tiniest", "no option --tiniest"),
        ("--set agent.gama=1", "agent.gamma?"),
        ("tests/agent/hard_q.py", "there is no"),
    ],
)
def test_wrong_code_in_running_text_is_noticed(code: str, problem: str) -> None:
    assert problem in checks.check_code(code)[0]


def test_a_wrong_scenario_is_noticed(tmp_path: Path) -> None:
    assert "users.world?" in checks.check_yaml("scenario: mine\nusers: {wordl: sequence}", tmp_path)[0]
    assert checks.check_yaml("a: b", tmp_path) == []


def test_the_method_on_the_page_is_the_one_that_is_tested() -> None:
    code = (REPOSITORY / "tests/agent/soft_q.py").read_text("utf-8")
    page = Page(REPOSITORY / "docs/howto/own-method.md")
    assert code[code.index("from __future__") :].strip() in [block.text.strip() for block in page.blocks]
