"""The page of a service stands alone, says what is served, and names nothing that a stranger wrote as markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ialp_rllib.cli.main import app
from ialp_rllib.cli.serve import _write_page
from ialp_rllib.errors import InputError
from ialp_rllib.report.kit import svg
from ialp_rllib.report.serving.figures import returns_figure
from ialp_rllib.report.serving.numbers import arm_rows, curve, read_status
from ialp_rllib.report.serving.page import finding, render, write_service_page
from ialp_rllib.serving.folder import STATUS, ServiceFolder, create_service
from ialp_rllib.serving.guard import interval
from ialp_rllib.serving.history import RECENT
from ialp_rllib.serving.ledger import KEPT, Ledger
from ialp_rllib.serving.sessions import EndedSession
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.storage import write_json
from tests.serving.small import make_artifact, weights


def status(points: int = 30) -> dict[str, Any]:
    """What a learner reports after some hours."""
    rising = [
        {
            "time": 1e9 + 600 * n,
            "env_steps": 500 * n,
            "alpha": min(0.1 * 1.5 ** (n // 6), 1.0),
            "control": [60.0 + n % 3, 2],
            "canary": [60.0 + n, 2] if n % 2 else [0.0, 0],
            "promoted": [720.0 + 20 * n, 21],
            "all": [900.0, 30],
        }
        for n in range(points)
    ]
    bounds = {"mean": 30.2, "low": 28.0, "high": 32.0, "values": 400}
    return {
        "time": 1e9,
        "current": {"promoted": 4, "canary": 5, "before": 3, "reason": "r", "time": 1e9},
        "versions": [{"number": n, "alpha": 0.1 * n, "time": 1e9, "facts": {"env_steps": 10 * n}} for n in range(1, 6)],
        "learner": {"env_steps": 15_000, "updates": 468, "alpha": 0.5, "ess": 0.8, "open": 12, "losses": {}},
        "counts": {"decisions": 15_020, "feedback": 14_000, "damaged": 0},
        "sessions": {"control": 60},
        "fallbacks": {
            "canary": {"version": 5, "decisions": 2000, "slow": 40},
            "promoted": {"version": 4, "decisions": 9},
        },
        "arms": {
            "control": bounds,
            "canary": {"mean": None, "low": None, "high": None, "values": 0},
            "promoted": {"mean": 41.0, "low": 39.5, "high": 42.5, "values": 5000},
        },
        "points": rising,
        "events": [{"time": 1e9, "text": "promoted: <script>alert(1)</script>"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return create_service(tmp_path / "service", make_artifact(tmp_path / "policy"))


def test_the_page_says_what_is_served(folder: ServiceFolder) -> None:
    page = render(folder, status())
    assert "Version 4 is served, version 5 is tried." in page
    assert "Its sessions return 41.0, those of the frozen policy 30.2: +36%." in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(?!#)', page) and 'http-equiv="refresh"' in page
    assert page.count('role="img"') == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_captions_tell_what_the_numbers_rest_on(folder: ServiceFolder) -> None:
    ledger, count = Ledger(), KEPT + 7
    ended = EndedSession("control", 0, 1.0, ("item 1", "item 2"), fallback=False, time=1e9)
    ledger.add([ended] * count)
    assert ledger.served.returns(0, 0).values == count, "returns are of all sessions"
    assert len(ledger.items(0)) == KEPT, "items are the latest ones"
    state = status()
    state["arms"]["control"] = interval(ledger.served.returns(0, 0), folder.settings.guard)._asdict()
    page = render(folder, state)
    assert f"<td>{count:,}</td>" in page and "Of all ended sessions" in page
    assert f"the latest {KEPT:,} at most that an arm was shown" in page
    assert f"of the latest {RECENT:,} sessions at most" in page
    assert set(re.findall(r"latest ([\d,]+)", page)) == {f"{KEPT:,}", f"{RECENT:,}"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_the_gain_and_the_curve(sign: int, folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With negative returns, too, more is a gain, and the curve is in the figure."""
    known, means = status(), {"control": -20.0, "canary": -15.0, "promoted": -10.0}
    arms = {arm: {"mean": mean, "low": mean - 1, "high": mean + 1, "values": 400} for arm, mean in means.items()}
    state = {**known, "arms": arms}
    state["points"] = [
        {**point, **{arm: [sign * point[arm][0], point[arm][1]] for arm in arms}} for point in known["points"]
    ]
    assert "+50%" in finding(state, arm_rows(state, folder.settings.guard))
    limits = []
    monkeypatch.setattr(svg, "to_markup", lambda figure, *_: limits.append(figure.axes[0].get_ylim()))
    returns_figure(state)
    lowest, highest = limits[0]
    assert (lowest == 0) if sign > 0 else (lowest < -60 and highest > -31)


def test_a_page_that_cannot_be_written_ends_nothing(
    folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ialp_rllib.report.serving.page as page

    def full(path: Path, text: str) -> None:
        raise InputError(str(path), "the disk is full", "space")

    monkeypatch.setattr(page, "write_text", full)
    assert "the disk is full" in (problem := _write_page(folder))
    assert _write_page(folder, problem) == problem
    assert capsys.readouterr().err.count("the service goes on") == 1
    monkeypatch.undo()
    assert _write_page(folder, problem) == ""


def test_before_anything_was_reported(folder: ServiceFolder) -> None:
    with pytest.raises(InputError, match="no status yet"):
        read_status(folder)
    page = write_service_page(folder).read_text()
    assert "nothing was reported yet" in page
    few = {**status(1), "events": [], "versions": []}
    few["current"] = {**few["current"], "promoted": 0, "canary": None}
    assert "The frozen policy is served alone." in render(folder, few)


def test_the_curve_leaves_out_points_without_sessions() -> None:
    hours, means = curve(status(4), "canary")
    assert hours == [600 / 3600, 1800 / 3600] and means == [30.5, 31.5]


def test_status_promote_and_rollback(folder: ServiceFolder) -> None:
    root, versions = str(folder.root), Versions(folder.root)
    write_json(folder.root / STATUS, status())
    shown = CliRunner().invoke(app, ["serve", "status", root])
    assert shown.exit_code == 0 and "version 4 is promoted, version 5 is tried" in shown.output
    assert "39.5 to 42.5" in shown.output
    assert "pi_theta stood in for version 5 in slow 40 of 2,000 decisions" in " ".join(shown.output.split())
    assert "for version 4" not in shown.output
    for number in (2, 3):
        versions.publish(weights(number), 0.1, {})
    versions.serve(Current(0, 1))
    refused = CliRunner().invoke(app, ["promote", root])
    assert refused.exit_code == 4 and "refuse" in refused.output and versions.current().promoted == 0  # without a log
    assert CliRunner().invoke(app, ["promote", root, "--force"]).exit_code == 0
    assert versions.current()[:3] == (1, None, 0)
    assert CliRunner().invoke(app, ["promote", root, "--version", "2", "--force"]).exit_code == 0
    assert versions.current()[:3] == (2, None, 1)
    assert CliRunner().invoke(app, ["rollback", root]).exit_code == 0
    assert versions.current()[:3] == (1, None, 0)
    assert isinstance(CliRunner().invoke(app, ["promote", root]).exception, InputError)
    assert isinstance(CliRunner().invoke(app, ["rollback", root, "--to", "9"]).exception, InputError)


def test_preparing_a_service_starts_nothing(tmp_path: Path) -> None:
    make_artifact(tmp_path / "policy")
    words = ["serve", str(tmp_path / "policy"), "--out", str(tmp_path / "s"), "--prepare", "--set", "poll=2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "s" / "service.json").is_file()


@pytest.mark.slow
def test_the_page_opens_in_a_browser(folder: ServiceFolder, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed")
    write_json(folder.root / STATUS, status())
    page = write_service_page(folder)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,2000"]
    shot = tmp_path / "page.png"
    words = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    assert shot.stat().st_size > 20_000
