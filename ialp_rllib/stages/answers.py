"""The answer form of a run's judge: what stage ``tune`` chose and calibrated, for all who ask the judge later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.judge.choosing import ChosenForm
from ialp_rllib.judge.engines.models import model_fingerprint, resolve_model
from ialp_rllib.settings import LETTER, JudgeSettings, fingerprint
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import read_json, write_json

ANSWER = "answer.json"
_FIELDS = (
    *("answer", "likelihood", "dtype", "chat_template", "candidates", "history", "platform", "item_noun", "frame"),
    *("orders", "calibrate_letters", "max_length", "min_rating", "seed", "profile"),
)


def _key(run: RunFolder, settings: JudgeSettings, model: str) -> str:
    """What a choice depends on."""
    asked: list[Any] = [getattr(settings, name) for name in _FIELDS]
    data = run.fingerprints["prepare"]
    return fingerprint("answer", data, model_fingerprint(resolve_model(model)), asked, settings.tune.none_share)


def read_form(run: RunFolder, settings: JudgeSettings, model: str) -> ChosenForm | None:
    """The form that was chosen for this model and these settings; None if none was, or letters are set."""
    file = run.root / "tune" / ANSWER
    if settings.answer == LETTER or not file.is_file():
        return None
    data = read_json(file, ("key", "form"))
    return ChosenForm.from_dict(data["form"]) if data["key"] == _key(run, settings, model) else None


def write_form(run: RunFolder, settings: JudgeSettings, model: str, form: ChosenForm, folder: Path) -> None:
    """Keep a form in the folder of stage ``tune``."""
    write_json(folder / ANSWER, {"key": _key(run, settings, model), "form": form.to_dict()})
