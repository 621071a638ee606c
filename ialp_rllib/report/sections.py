"""What the page's sections on the judge, the users, the settings and the stages show, made ready for the template.

Everything here tolerates what is absent: an audit without a key leaves out that row.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
from markupsafe import Markup

from ialp_rllib.report import figures
from ialp_rllib.report.glossary import user_term, words
from ialp_rllib.report.summary import three, whole
from ialp_rllib.settings import Settings, to_dict

_CURVE = "calibration"  # the one number on the users that is a curve


@dataclasses.dataclass(frozen=True)
class JudgeSection:
    """The judge: a sentence, rows of (measure, before tuning, now, to compare with), figures."""

    finding: str
    rows: list[tuple[str, str, str, str]]
    tuned: bool
    engine: str
    drawings: list[tuple[Markup, str]]


def judge_section(judge: Mapping[str, Any] | None) -> JudgeSection | None:
    """The section of an audit; ``None`` where there was none."""
    if not judge:
        return None
    before = judge.get("before") or {}
    notes = {
        "accuracy": _note("chance", judge.get("chance")),
        "None rate": _note("planted", judge.get("none_planted")),
        "permutation agreement": "1 if letters do not matter",
        "letter bias": _note("by chance about", bias_by_chance(judge)),
        "replies outside the labels": "0 where the engine constrains the answer",
    }
    rows = [(name, get(before), get(judge), notes.get(name, "")) for name, get in _AUDIT.items()]
    shown = [(name, _share(old), _share(new), note) for name, old, new, note in rows if _number(new) or _number(old)]
    return JudgeSection(
        finding=_judge_finding(judge),
        rows=shown,
        tuned=bool(before),
        engine=", ".join(f"{key}: {judge[key]}" for key in ("model", "engine") if judge.get(key)),
        drawings=list(_judge_drawings(judge, before)),
    )


def letter_bias(audit: Mapping[str, Any]) -> float | None:
    """Total variation distance of the letters answered, None apart, from equal shares: the audit's own, or worked out.

    Shares are those of ``label_histogram`` ``(k + 1,)``, the last one None.
    """
    if _number(audit.get("letter_bias")):
        return audit["letter_bias"]
    letters = np.asarray(audit.get("label_histogram") or [], float)[:-1]
    if not letters.sum():
        return None
    return float(np.abs(letters / letters.sum() - 1 / len(letters)).sum() / 2)


def bias_by_chance(audit: Mapping[str, Any]) -> float | None:
    """What :func:`letter_bias` is of an unbiased judge, for the number of prompts is finite: the audit's own, or the
    mean of the normal approximation."""
    if _number(audit.get("letter_bias_by_chance")):
        return audit["letter_bias_by_chance"]
    shares, prompts = audit.get("label_histogram"), audit.get("prompts")
    if not shares or not _number(prompts) or prompts * (1 - shares[-1]) < 1:
        return None
    k, answers = len(shares) - 1, prompts * (1 - shares[-1])
    return float(k / 2 * np.sqrt(2 / np.pi * (1 / k) * (1 - 1 / k) / answers))


# What the audit's rows show, in their order. The first key that an audit has counts.
_AUDIT: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "accuracy": lambda audit: audit.get("accuracy"),
    "accuracy without None": lambda audit: audit.get("accuracy_without_none", audit.get("accuracy_items")),
    "accuracy on None": lambda audit: audit.get("accuracy_none"),
    "None rate": lambda audit: audit.get("none_rate"),
    "permutation agreement": lambda audit: audit.get("permutation_agreement"),
    "letter bias": letter_bias,
    "label entropy": lambda audit: audit.get("label_entropy"),
    "answer entropy": lambda audit: audit.get("answer_entropy"),
    "replies outside the labels": lambda audit: audit.get("outside_rate"),
}


def expected_shares(audit: Mapping[str, Any]) -> list[float] | None:
    """The shares of the labels, None last, if every letter were equally often right."""
    shares = audit.get("label_histogram")
    if not shares or len(shares) < 2:
        return None
    none = audit.get("none_planted")
    none = float(none) if _number(none) else float(shares[-1])
    return [(1 - none) / (len(shares) - 1)] * (len(shares) - 1) + [none]


def _judge_finding(judge: Mapping[str, Any]) -> str:
    accuracy, chance, prompts = judge.get("accuracy"), judge.get("chance"), judge.get("prompts")
    if not _number(accuracy):
        return ""
    text = f"The judge gives the right answer to {_percent(accuracy)}"
    text += f" of {whole(prompts)} held-out prompts" if _number(prompts) else " of the held-out prompts"
    if not _number(chance):
        return f"{text}."
    text += f", against {_percent(chance)} by chance."
    margin = 2 * np.sqrt(chance * (1 - chance) / prompts) if _number(prompts) and prompts > 0 else 0.0
    if accuracy <= chance + margin:
        text += " It is no better than chance: what it teaches the agent is noise."
    return text


def _judge_drawings(judge: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[Markup, str]]:
    shares = judge.get("label_histogram")
    if shares:
        old = before.get("label_histogram")
        yield (
            figures.label_histogram(shares, expected_shares(judge), old),
            ("Grey: before tuning. Blue: as used. " if old else "") + "Thin line: a judge blind to letters.",
        )
    tuning = judge.get("tuning") or {}
    for name, caption in (("loss", "Cross-entropy of the right label."), ("accuracy", "Share of right labels.")):
        if len(tuning.get(name) or ()) > 1:
            yield figures.tuning_curve(tuning[name], name), caption


def user_groups(users: Mapping[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Group -> (name, value, meaning) of the numbers on the simulated users; those of no group first, under ""."""
    groups: dict[str, list[tuple[str, str, str]]] = {"": []}
    for path, value in leaves(users):
        *above, name = path.split(".")
        if name == _CURVE:
            continue
        rows = groups.setdefault(" / ".join(words(part) for part in above), [])
        rows.append((words(name), _value(value), user_term(path)))
    return {name: rows for name, rows in groups.items() if rows}


def user_drawings(users: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """Figures of the fitted user models, each with its caption."""
    drawings = []
    for path, value in leaves(users):
        *above, name = path.split(".")
        if name == _CURVE and value:
            title = f"Calibration, {' / '.join(words(part).lower() for part in above)} world"
            caption = "Held-out next items among sampled negatives, ten groups of equal size. Grey: perfect."
            drawings.append((figures.calibration_curve(value, title), caption))
    return drawings


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """A setting as the page shows it; ``changed`` where it differs from the default."""

    key: str
    value: str
    default: str
    doc: str
    changed: bool


def setting_rows(settings: Mapping[str, Any]) -> list[SettingRow]:
    """All settings, flattened to dotted keys, with documentation and default from the declarations."""
    defaults, docs = dict(leaves(to_dict(Settings()))), dict(_docs(Settings))
    rows = []
    for key, value in leaves(settings):
        known = key in defaults
        changed = known and json.dumps(value, default=str) != json.dumps(defaults[key], default=str)
        rows.append(SettingRow(key, _yaml(value), _yaml(defaults[key]) if known else "", docs.get(key, ""), changed))
    return rows


def _docs(cls: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(cls):
        if "doc" in field.metadata:
            yield f"{prefix}{field.name}", field.metadata["doc"]
        else:
            yield from _docs(field.default_factory, f"{prefix}{field.name}.")


def stage_rows(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Time and disk of each stage, with its share of all time in percent, and a last row with the sums."""
    seconds = sum(float(stage.get("seconds") or 0) for stage in stages)
    rows = [
        {
            "name": stage.get("name", ""),
            "time": duration(stage.get("seconds")),
            "disk": size(stage.get("bytes")),
            "reused": bool(stage.get("reused")),
            "share": 100 * float(stage.get("seconds") or 0) / seconds if seconds else 0.0,
        }
        for stage in stages
    ]
    disk = sum(int(stage.get("bytes") or 0) for stage in stages)
    return [*rows, {"name": "all", "time": duration(seconds), "disk": size(disk), "reused": False, "share": 0.0}]


def duration(seconds: Any) -> str:
    """Seconds for readers: 0.4 s, 41 s, 3 min 20 s, 2 h 05 min."""
    if not _number(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: Any) -> str:
    """Bytes for readers, in powers of 1,000."""
    if not _number(count):
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{three(count)} {unit}"
        count /= 1000
    return f"{three(count)} TB"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of a nested mapping, in its order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 6 and all(_number(v) for v in value):
        return f"{three(value[0])} … {three(value[-1])} ({len(value)} values)"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _number(value):
        return "–" if value is None else str(value)
    return whole(value) if isinstance(value, int) else three(value)


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, default=str)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _note(word: str, value: Any) -> str:
    return f"{word} {_share(value)}" if _number(value) else ""


def _share(value: Any) -> str:
    return f"{value:.3f}" if _number(value) else "–"
