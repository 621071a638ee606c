"""Definitions of the metrics in reports, as the pages and the documentation print them."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.results.statistics import MIN_SEEDS

RESULTS = {
    "R (return)": "Sum of the rewards of one episode, that is, of one user's visit, without discounting; mean over the "
    "test episodes, then over the seeds.",
    "Len (length)": "Number of recommendations until the user leaves or the step limit is reached; mean over the "
    "episodes.",
    "R_avg (reward per step)": "Sum of the rewards of all episodes / sum of their lengths: how much users like a "
    "single recommendation, regardless of how long they stay.",
    "environment step": "One recommendation to one simulated user.",
    "update": "One gradient step on one minibatch.",
    "epoch": "A fixed number of environment steps (1,000 by default). Epoch 0 is before any online step, the end after "
    "the last one.",
    "sampled, greedy": "How the tested policy chooses an item: it draws one from its probabilities, or it takes the "
    "most probable one.",
    "seed": "One training run with its own random numbers. Differences between seeds are due to chance.",
}
REFERENCES = {
    "reference": "A method that stands in the tables for others to be compared with: it needs no judge or no learning "
    "online, and is ready on the first day.",
    "best with the same data": "The method with the highest mean among the references and baselines that have read no "
    "more than the method: nothing, the log, or the log and the judge. Baselines ask no judge. Untrained baselines: "
    "those that learn online from random weights, as the baselines of the publication do.",
    "gain over the best list": "(R − R of the best fixed list for everybody) / (R − R of random recommendations): the "
    "share of the gain over random recommendations that one list does not have. Negative: the list is better.",
    "effective items per step": "Effective number of items that are shown to all users / mean length of a session. "
    "About 1 where everybody is shown the same list; below 1.5 a page warns.",
    "temperature": "T of the sampled policy, which draws items in proportion to p^(1/T): the one with the highest "
    "sampled return in the validation world.",
}
WEEKS = {
    "reward behind": "What a method that learns has earned less than a reference by then: the sum of a reference's "
    "greedy reward per step among the train users, less the sum of the rewards of its training there.",
    "steps until reached": "Environment steps until the greedy policy first has the return of a reference in the test "
    "world. As coarse as the measurements, and one lucky measurement ends them.",
}
STATISTICS = {
    "95% interval": "Student's t interval of the mean over seeds. With one seed, of a return: R ± 1.96 standard errors "
    "over the test users, which says nothing about other seeds. Of a difference: by the "
    "paired t test if every seed is tested on other users, else by Welch's. Of a ratio of means: Fieller's. Intervals "
    "are not corrected for multiple testing.",
    "better, worse": f"The t test of the difference of the two means has a p-value below 5%, after Holm's correction "
    "for all verdicts of the page: between equal methods, the whole page says so in 5% of the cases. Both methods have "
    f"{MIN_SEEDS} seeds or more.",
    "no difference shown": "The corrected p-value is 5% or more. This does not show that the two are equal.",
    "too few seeds, cannot be compared": f"One of the two methods has fewer than {MIN_SEEDS} seeds; or a run diverged.",
    "band": "Line and band of a learning curve: mean over the seeds and its 95% t interval.",
}
CURVES = {
    "training curve": "Mean over the most recent 20 training episodes, with train users and exploration. Its "
    "rewards may come from another user model than those of the test world.",
    "test curve": "Mean over the test episodes in the test world, measured at intervals during training.",
    "coverage": "Fraction of the catalogue's items that were recommended at least once in the test episodes of one "
    "measurement (Ge et al. 2010). It tends to increase with the number of recommendations.",
    "effective items (diversity)": "Number of equally frequent items with the same Shannon entropy as the recommended "
    "items: exp of the entropy of their frequencies (Hill 1973). 1: always the same item.",
    "alpha": "Weight of the learning policy in the mixture of A-iALP_ap: 0 is the frozen pre-trained policy alone, 1 "
    "the learning one alone.",
}
JUDGE = {
    "accuracy": "Fraction of held-out prompts for which the judge gives the correct label: the user's true next item "
    "or, if it is not among the candidates, None.",
    "accuracy without None": "Accuracy over the prompts that contain the true next item.",
    "oracle's accuracy": "For an oracle, a judge that is no LLM but knows the true answers and errs by a set amount: "
    "fraction of prompts with uniform candidates for which it prefers the truly best candidate.",
    "chance": "Accuracy of an answer drawn uniformly from all labels.",
    "uniform, popular candidates": "How the other candidates of a prompt (the negatives) are drawn from the items that "
    "the user never interacted with: uniformly, or in proportion to their popularity in the log. Popular negatives are "
    "harder to tell from the true item.",
    "interval (of a fraction)": "95% Wilson score interval.",
    "None rate": "Fraction of prompts answered None (no candidate fits).",
    "planted None": "Fraction of prompts without the true item, for which None is correct: what the None rate should "
    "be.",
    "None precision, None recall": "Fraction of None answers that are correct; fraction of the prompts without the "
    "true item that are answered None.",
    "letter bias": "Position bias of the answers: total variation distance between the shares of the letters, None "
    "excluded, and equal shares. 0: no preference for letters; near 1: always the same letter. A small value is "
    "expected by chance.",
    "relative frequency (letters)": "Prompts are asked in all cyclic orders of their candidates, so that every "
    "candidate has every letter once. Number of times that a letter is chosen, relative to the mean over the letters: "
    "1 without position bias, k if it is always the same of k letters.",
    "permutation agreement": "Fraction of pairs of these orders for which the judge chooses the same item. 1: letters "
    "do not matter; 0: only letters do.",
    "wording agreement": "Fraction of prompts that are answered alike in all wordings of the instruction, which mean "
    "the same. 1: the wording does not matter.",
    "form agreement": "Fraction of prompts that are answered alike with the model's chat template and without it. 1: "
    "the template does not matter.",
    "calibration error": "Expected calibration error: mean distance between the probability of the judge's answer and "
    "the fraction of such answers that are correct, over ten groups of equal size. 0 is perfect; a small value is "
    "expected by chance.",
    "label entropy": "Entropy of the labels over all answers, in nats; ln 11 = 2.40 for 11 equally frequent labels.",
    "answer entropy": "Mean entropy of the label probabilities of one answer, in nats; 0 if the judge is always "
    "certain.",
    "replies outside the labels": "Fraction of replies that are no label; they count as None.",
    "tuning loss": "Cross-entropy of the correct label during tuning; lower is better.",
}
USERS = {
    "world": "rating: rewards are the ratings of a completed matrix. sequence: a model of the session gives the "
    "rewards.",
    "protocol": "transfer: the train world is a fitted user model, the test world the true ratings or a second model. "
    "split: both are the true ratings, of different users.",
    "rmse": "Root mean square error of the predicted ratings; lower is better.",
    "correlation": "Pearson correlation of predicted and true ratings; 1 is perfect, 0 is uninformative.",
    "auc": "Probability that a logged next item scores above a uniformly drawn one; 0.5 is chance, 1 is perfect.",
    "auc_popular": "Probability that a logged next item scores above one drawn by popularity; 0.5 is chance.",
    "hr_10": "HR@10: fraction of logged next items among the ten highest-scoring items that are not in the session.",
    "calibration_error": "Mean distance of predicted and observed frequencies over ten groups; 0 is perfect.",
    "next_items": "Number of logged next items that the model was fitted to and tested on.",
    "greedy_on_test_model": "Return of the best policy known: it takes the item with the highest true answer at each "
    "step.",
    "greedy_on_train_model": "The same with the answers of the train world: what transfers to the test world.",
    "model_cap": "Return of perfect planning on the user model, evaluated in the test world: an upper bound for what "
    "can be learnt from the user model.",
    "model_cap_non_personalised": "Return of perfect planning on the user model's mean per item.",
    "cap": "Return of perfect planning: no policy can be expected to exceed it.",
    "oracle": "Return of a policy that knows every user's true answers.",
    "oracle_no_repeat": "Return of a policy that knows every user's true answers and never recommends an item twice.",
    "non_personalised": "Return of the best ranking that is the same for all users: only what exceeds it is "
    "personalisation.",
    "random_policy": "Measures of uniform random recommendations.",
    "random": "Measures of uniform random recommendations.",
    "uniform_reward": "Mean reward of a uniformly drawn item.",
    "loss": "Held-out loss; lower is better.",
    "losses": "Held-out error after each pass over the data; lower is better.",
    "epochs": "Passes over the data until fitting stopped.",
    "return": "Mean sum of rewards of an episode.",
    "length": "Mean number of steps of an episode.",
    "reward_per_step": "Sum of all rewards / sum of all lengths.",
    "episodes": "Number of episodes behind these means.",
}


_ACRONYMS = ("rmse", "auc", "hr", "mse", "llm", "id")
_IN_RESULTS = ("return", "length", "reward_per_step", "episodes")


def readable_name(key: str) -> str:
    """A key as text: ``held_out_rmse`` becomes ``Held out RMSE``, and ``held_out_hr_10`` becomes ``Held out HR@10``."""
    text = " ".join(word.upper() if word in _ACRONYMS else word for word in str(key).split("_"))
    text = text.replace("HR 10", "HR@10")
    return text[:1].upper() + text[1:]


def user_meaning(path: str) -> str:
    """Definition of a number on the simulated users, by the last part of its dotted path.

    Args:
        path: dotted path, such as ``train.held_out_rmse``.

    Returns:
        The definition of the whole last part, else of its longest known ending; empty if there is none.
    """
    name = path.rsplit(".", 1)[-1]
    endings = [term for term in USERS if name == term or name.endswith(f"_{term}")]
    if endings:
        return USERS[max(endings, key=len)]
    return next((USERS[term] for term in ("random_policy", "random", "cap") if term in name), "")


def glossary(
    ids: Iterable[str], *, curves: bool, judge: bool, user_paths: Iterable[str], weeks: bool = False
) -> list[tuple[str, str]]:
    """Definitions for the report of a run: methods first, then metrics.

    Args:
        ids: the methods on the page.
        curves: whether it has learning curves.
        judge: whether it has a section on the judge.
        user_paths: dotted paths of its numbers on the simulated users.
        weeks: whether it shows what methods earn while they learn.

    Returns:
        (term, definition) in the order of the page.
    """
    entries = [(style.label, style.about) for style in method_styles(ids).values() if style.about]
    metrics = RESULTS | REFERENCES | STATISTICS
    if weeks:
        metrics |= WEEKS
    if curves:
        metrics |= CURVES
    if judge:
        metrics |= JUDGE
    entries += [(term[:1].upper() + term[1:], text) for term, text in metrics.items()]
    shown = dict.fromkeys(user_meaning(path) for path in user_paths)  # each definition once
    names = {text: name for name, text in USERS.items()}
    entries += [(readable_name(names[text]), text) for text in shown if text and names[text] not in _IN_RESULTS]
    return entries
