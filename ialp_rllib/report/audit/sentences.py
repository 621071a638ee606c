"""What a judge's audit found, in sentences that say no more than its numbers allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ialp_rllib.report.audit.numbers import Audit, expected_letter_bias, format_percent, letter_bias, lookup
from ialp_rllib.report.kit.formatting import format_count, is_number


def finding(judge: Audit) -> str:
    """How often the judge is right, in a sentence."""
    accuracy, chance, prompts = judge.get("accuracy"), judge.get("chance"), judge.get("prompts")
    if not is_number(accuracy):
        return ""
    text = f"The judge gives the right answer to {format_percent(accuracy)}"
    text += f" of {format_count(prompts)} held-out prompts" if is_number(prompts) else " of the held-out prompts"
    if not is_number(chance):
        return f"{text}."
    text += f", against {format_percent(chance)} by chance."
    margin = 2 * np.sqrt(chance * (1 - chance) / prompts) if is_number(prompts) and prompts > 0 else 0.0
    if accuracy <= chance + margin and not judge.get("oracle"):  # which knows more of the truth than of the log
        text += " It is no better than chance: what it teaches the agent is noise."
    return text


def remarks(judge: Audit, before: Audit) -> Iterator[str]:
    """What else a reader should know, a sentence each; empty where the audit does not say."""
    yield _on_oracle(judge)
    yield _on_tuning(judge, before)
    yield _on_popularity(judge)
    yield _on_letters(judge)
    wording = lookup(judge, "frames.agreement")
    if is_number(wording):
        count = len(lookup(judge, "frames.frames") or ())
        yield f"It answers {format_percent(wording)} of the prompts alike in all {count} wordings of the instruction."
    refused = judge.get("refused")
    if refused:
        yield f"{format_count(refused)} of {format_count(judge.get('asked'))} prompts could not be asked and are left out."


def _on_oracle(judge: Audit) -> str:
    oracle, accuracy, chance = (judge.get(key) for key in ("oracle", "oracle_accuracy", "oracle_accuracy_by_chance"))
    if not oracle:
        return ""
    errors = "anew in every prompt" if oracle["errors"] == "prompt" else "once for each item"
    text = (
        "This judge is an oracle, no LLM: it knows the test world's answers. What it believes of an item is made to "
        f"correlate {oracle['correlation']:g} with the truth; it errs {errors}, and answers None where its pick seems "
        f"worse to it than {format_percent(oracle['none_below'])} of random items."
    )
    if is_number(accuracy) and is_number(chance):
        text += f" Of uniform candidates it prefers the truly best one in {format_percent(accuracy)} of prompts"
        text += f", against {format_percent(chance)} by chance."
    return f"{text} The accuracy above is about logged choices, which say less."


def _on_tuning(judge: Audit, before: Audit) -> str:
    said = []
    old, new = before.get("accuracy"), judge.get("accuracy")
    if is_number(old) and is_number(new):
        said.append(f"its accuracy from {format_percent(old)} to {format_percent(new)}")
        first, second = before.get("accuracy_interval"), judge.get("accuracy_interval")
        if first and second and first[0] <= second[1] and second[0] <= first[1]:
            said[-1] += " (the intervals overlap: no difference shown)"
    old, new = letter_bias(before), letter_bias(judge)
    if is_number(old) and is_number(new):
        chance = [f"{value:.2f}" for value in map(expected_letter_bias, (before, judge)) if is_number(value)]
        by_chance = f" (by chance {' and '.join(chance)})" if len(chance) == 2 else ""
        said.append(f"its letter bias from {old:.2f} to {new:.2f}{by_chance}")
    return f"Tuning took {' and '.join(said)}." if said else ""


def _on_popularity(judge: Audit) -> str:
    uniform, popular = (lookup(judge, f"negatives.{kind}") for kind in ("uniform", "popular"))
    if not uniform or not popular or not is_number(popular.get("accuracy")):
        return ""
    text = f"With popular items as the other candidates it is right in {format_percent(popular['accuracy'])}"
    if popular["interval"][1] < uniform["interval"][0]:
        return f"{text}, clearly less often: some of its accuracy is knowing what is popular."
    return f"{text}: popularity does not mislead it by more than the intervals allow to say."


def _on_letters(judge: Audit) -> str:
    bias, chance, limit = letter_bias(judge), expected_letter_bias(judge), judge.get("letter_bias_limit")
    if not is_number(bias) or not is_number(chance):
        return ""
    text = f"Its letter bias is {bias:.2f}, an unbiased judge shows about {chance:.2f} on so many prompts"
    if bias <= (limit if is_number(limit) else 1.5 * chance):
        return f"{text}: no sign that letters matter."
    times = lookup(judge, "position.letters")
    if times:
        best = int(np.argmax(times))
        text += f"; it chooses what stands at {chr(ord('a') + best)} {times[best]:.1f} times as often as on average"
    return f"{text}. Remedies: judge.orders, judge.calibrate_letters."
