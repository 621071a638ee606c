"""The results of a judge's audit in sentences, with no claim that the numbers do not support."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ialp_rllib.report.audit.answer import on_answer
from ialp_rllib.report.audit.numbers import (
    Audit,
    expected_letter_bias,
    format_interval,
    format_percent,
    letter_bias,
    lookup,
)
from ialp_rllib.report.kit.formatting import format_count, is_number
from ialp_rllib.results.statistics import is_above_chance
from ialp_rllib.settings.judge_model import CONTROLS_ARE


def finding(judge: Audit) -> str:
    """The judge's accuracy against chance, in one or two sentences; empty if the audit has no accuracy."""
    accuracy, chance, prompts = judge.get("accuracy"), judge.get("chance"), judge.get("prompts")
    if not is_number(accuracy):
        return ""
    text = f"The judge answers {format_percent(accuracy)}"
    text += f" of {format_count(prompts)} held-out prompts" if is_number(prompts) else " of the held-out prompts"
    text += " correctly"
    if not is_number(chance):
        return f"{text}."
    text += f", against {format_percent(chance)} by chance."
    if is_at_chance(judge):
        text += " That is no better than chance: what it teaches the agent is noise."
    return text


def is_at_chance(judge: Audit) -> bool:
    """Whether the audit does not show that the judge is better than chance. An oracle, which is not asked, never is."""
    accuracy, chance, prompts = judge.get("accuracy"), judge.get("chance"), judge.get("prompts")
    if judge.get("oracle"):  # it knows more about the truth than the log
        return False
    if "above_chance" in judge:
        return not judge["above_chance"]
    if accuracy is None or chance is None or prompts is None:
        return False
    return not is_above_chance(round(accuracy * prompts), prompts, chance)


def alert(judge: Audit) -> str:
    """What a reader of a report must know first: that the judge is not better than chance; else an empty string."""
    if not is_at_chance(judge):
        return ""
    items = lookup(judge, "negatives.uniform.items") or {}
    interval, k = items.get("interval"), judge.get("candidates") or len(judge.get("label_histogram") or ()) - 1
    figures = ""
    if interval and k > 0:
        figures = (
            f" ({format_percent(items['accuracy'])} of {format_count(items['prompts'])} held-out prompts that contain "
            f"the true item, 95% interval {format_interval(interval)}, chance {1 / k:.2f})"
        )
    return f"The judge is not better than chance{figures}: whatever follows from its preferences is noise."


def remarks(judge: Audit, before: Audit) -> Iterator[str]:
    """Further results, one sentence or more each; an empty string for those that the audit lacks.

    Args:
        judge: the audit.
        before: the audit before tuning; empty if the judge was not tuned.
    """
    yield on_answer(judge)
    yield _on_oracle(judge)
    yield _on_ratings(judge)
    yield _on_control(judge)
    yield _on_tuning(judge, before)
    yield _on_popularity(judge)
    yield _on_letters(judge)
    wording = lookup(judge, "frames.agreement")
    if is_number(wording):
        count = len(lookup(judge, "frames.frames") or ())
        yield f"For {format_percent(wording)} of prompts its answer is the same in all {count} wordings."
    yield _on_forms(judge)
    refused = judge.get("refused")
    if refused:
        total = format_count(judge.get("asked"))
        yield f"{format_count(refused)} of {total} prompts could not be asked and are left out."


_FORMS = {"chat": "with the model's chat template", "raw": "without the chat template"}


def _on_forms(judge: Audit) -> str:
    forms = {row["form"]: row for row in lookup(judge, "forms.forms") or ()}
    used = lookup(judge, "forms.used")
    other = next((name for name in forms if name != used), "")
    if used not in forms or not other or not is_number(forms[used]["accuracy"]):
        return ""
    first, second = (
        f"{format_percent(forms[name]['accuracy'])} ({format_interval(forms[name]['interval'])})"
        for name in (used, other)
    )
    return (
        f"It is asked {_FORMS[used]}: accuracy {first} on {format_count(lookup(judge, 'forms.prompts'))} prompts; "
        f"{second} {_FORMS[other]} on the same prompts (judge.chat_template)."
    )


def _on_oracle(judge: Audit) -> str:
    oracle, accuracy, chance = (judge.get(key) for key in ("oracle", "oracle_accuracy", "oracle_accuracy_by_chance"))
    if not oracle:
        return ""
    errors = "drawn for every prompt" if oracle["errors"] == "prompt" else "drawn once for each item"
    text = (
        "This judge is an oracle, no LLM: it knows the answers of the test world. Its estimates of the items "
        f"correlate {oracle['correlation']:g} with the truth, with errors {errors}. It answers None if its choice is, "
        f"by its estimates, worse than {format_percent(oracle['none_below'])} of random items."
    )
    if is_number(accuracy) and is_number(chance):
        text += f" Among uniform candidates it prefers the truly best one for {format_percent(accuracy)} of prompts"
        text += f", against {format_percent(chance)} by chance."
    return f"{text} The accuracy above refers to logged choices, which say less about an oracle."


def _on_ratings(judge: Audit) -> str:
    fitted = judge.get("ratings")
    if not fitted:
        return ""
    return (
        f"This judge is no LLM: it answers by a regression on {format_count(fitted['ratings'])} ratings of "
        f"{format_count(fitted['users'])} train users and on attributes. Of test users it knows the attributes only."
    )


def _on_control(judge: Audit) -> str:
    control = judge.get("control")
    if not control:
        return ""
    return (
        f"This judge is a control, no LLM: {CONTROLS_ARE[control['control']]}. What an LLM adds is its distance to the "
        f"best of such judges. Its scores were calibrated on {format_count(control['calibration_prompts'])} prompts of "
        "other validation users."
    )


def _on_tuning(judge: Audit, before: Audit) -> str:
    changes = []
    old, new = before.get("accuracy"), judge.get("accuracy")
    if is_number(old) and is_number(new):
        changes.append(f"its accuracy from {format_percent(old)} to {format_percent(new)}")
        first, second = before.get("accuracy_interval"), judge.get("accuracy_interval")
        if first and second and first[0] <= second[1] and second[0] <= first[1]:
            changes[-1] += " (the intervals overlap: no difference shown)"
    old, new = letter_bias(before), letter_bias(judge)
    if is_number(old) and is_number(new):
        expected = [f"{value:.2f}" for value in map(expected_letter_bias, (before, judge)) if is_number(value)]
        by_chance = f" (by chance {' and '.join(expected)})" if len(expected) == 2 else ""
        changes.append(f"its letter bias from {old:.2f} to {new:.2f}{by_chance}")
    sentences = [f"Tuning changed {' and '.join(changes)}."] if changes else []
    return " ".join([*sentences, *_on_trouble(judge.get("tuning") or {})])


def _on_trouble(tuning: Audit) -> Iterator[str]:
    """What did not go smoothly in the tuning."""
    skipped = len(tuning.get("skipped_updates") or ())
    if skipped:
        total = skipped + len(tuning.get("loss") or ())
        yield (
            f"Of {total:,} updates {skipped:,} {'was' if skipped == 1 else 'were'} skipped, because loss or gradient "
            f"was not finite; the learning rate ended at 1/{2**skipped:,} of what was set."
        )
    before, now = tuning.get("batch"), tuning.get("micro_batch")
    if before and now and now < before:
        yield f"Memory did not hold {before:,} prompts in a forward pass: it ended with {now:,}, and the same result."


def _on_popularity(judge: Audit) -> str:
    uniform, popular = (lookup(judge, f"negatives.{negatives}") for negatives in ("uniform", "popular"))
    if not uniform or not popular or not is_number(popular.get("accuracy")):
        return ""
    text = f"With popular items as the other candidates its accuracy is {format_percent(popular['accuracy'])}"
    if popular["interval"][1] < uniform["interval"][0]:
        return f"{text}, clearly lower: it owes a part of its accuracy to the popularity of the true items."
    return f"{text}: no effect of popularity is shown."


def _on_letters(judge: Audit) -> str:
    bias, expected, limit = letter_bias(judge), expected_letter_bias(judge), judge.get("letter_bias_limit")
    if not is_number(bias) or not is_number(expected):
        return ""
    text = f"Its letter bias is {bias:.2f}; about {expected:.2f} is expected of an unbiased judge on this many prompts"
    if bias <= (limit if is_number(limit) else 1.5 * expected):
        return f"{text}: no position bias is shown."
    times = lookup(judge, "position.letters")
    if times:
        best = int(np.argmax(times))
        text += f". It chooses the candidate at {chr(ord('a') + best)} {times[best]:.1f} times as often as on average"
    return f"{text}. Remedies: judge.orders, judge.calibrate_letters."
