"""What every metric of the report means, in the words that the page prints."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.results.statistics import RESAMPLES

RESULTS = {
    "R (return)": "Sum of the rewards of one episode, that is, of one user's visit; mean over the test episodes, then "
    "over the seeds.",
    "Len (length)": "Recommendations that a user took before leaving or before the step limit; mean over the episodes.",
    "R_avg (reward per step)": "Sum of the rewards of all episodes / sum of their lengths: how much users liked a "
    "single recommendation, however long they stayed.",
    "environment step": "One recommendation to one simulated user.",
    "update": "One gradient step on one minibatch.",
    "epoch": "A fixed number of environment steps (1,000 by default). Epoch 0 is before any online step; the end is "
    "after the last one.",
    "sampled, greedy": "How the tested policy acts: it draws an item with its probabilities, or it always takes the "
    "most probable one.",
    "seed": "One training run with its own random numbers. Differences between seeds are chance.",
}
STATISTICS = {
    "IQM (interquartile mean)": "Mean of the middle half of the values: a quarter of them, rounded down, is left out "
    "at either end. With 2 or 3 seeds it is the plain mean. A run that diverged is never left out: then there is no "
    "figure.",
    "95% interval": f"Stratified percentile bootstrap, {RESAMPLES:,} resamples of the seeds. With few seeds it tends "
    "to be too narrow; with one seed there is none.",
    "better, worse": "The 95% interval of the difference of the two IQMs lies on one side of 0. Each comparison is "
    "made by itself: of twenty between equal methods, one is expected to say so.",
    "no difference shown": "The interval of the difference holds 0. It does not say that the two are equal.",
    "band": "Line and band of a learning curve: mean over the seeds and its 95% percentile-bootstrap interval.",
}
CURVES = {
    "training curve": "Mean over the most recent 20 training episodes, in the train world, exploring. Its rewards may "
    "come from another user model than those of the test world.",
    "test curve": "Mean over the test episodes in the test world, at points during training.",
    "coverage": "Share of the catalogue's items that were recommended at least once in the test episodes of one "
    "measurement (Ge et al. 2010). More recommendations can cover more.",
    "effective items (diversity)": "So many items, recommended equally often, would be as diverse as what was "
    "recommended: exp of the Shannon entropy of the items' frequencies (Hill 1973). 1: always the same item.",
    "alpha": "Weight of the learning policy in A-iALP_ap's mixture: 0 is the frozen pre-trained policy alone, 1 the "
    "learning one alone.",
}
JUDGE = {
    "accuracy": "Share of held-out prompts in which the judge gives the right label: the user's true next item or, "
    "where that is absent, None.",
    "accuracy without None": "Accuracy over the prompts that hold the true next item.",
    "oracle's accuracy": "Of an oracle, a judge that is no LLM but knows the true answers and errs by a stated amount: "
    "share of prompts, of uniform candidates, in which the candidate it prefers is the truly best one.",
    "chance": "Accuracy of an answer drawn uniformly from all labels.",
    "uniform, popular candidates": "How the other candidates of a prompt were drawn from the items that the user never "
    "touched: all alike, or by how often they occur in the log. Popular ones are harder to tell from the true one.",
    "interval (of a share)": "95% Wilson interval: the shares that so few prompts cannot tell from the observed one.",
    "None rate": "Share of prompts answered None (no candidate fits).",
    "planted None": "Share of prompts that hold no true item, so that None is right: what the None rate should be.",
    "None precision, None recall": "Share of the Nones answered that are right; share of the prompts without the true "
    "item that are answered None.",
    "letter bias": "Half the sum of the distances between each letter's share of the answers, None apart, and equal "
    "shares. 0: no preference for letters; near 1: always the same letter. A little of it is chance.",
    "times as often (letters)": "Prompts are asked in all cyclic orders of their candidates, so that every candidate "
    "stands at every letter once. How often a letter is chosen then, over the mean letter: 1 if letters do not matter, "
    "k if it is always that one.",
    "permutation agreement": "Share of pairs of these orders in which the judge picks the same item. 1: letters do not "
    "matter at all; 0: only letters do.",
    "wording agreement": "Share of prompts that are answered alike in all wordings of the instruction, which say the "
    "same. 1: the wording does not matter.",
    "calibration error": "Expected calibration error: mean distance of the probability that the judge gives its answer "
    "and the share of such answers that are right, over ten groups of equal size; 0 is perfect. A little is chance.",
    "label entropy": "Evenness of the labels among the answers, in nats: the higher, the more even; ln 11 = 2.40 for "
    "eleven equally frequent labels.",
    "answer entropy": "How undecided the judge is within one answer, in nats: 0 if it is always certain.",
    "replies outside the labels": "Share of replies that were no label; they count as None.",
    "tuning loss": "Cross-entropy of the right label while the judge was tuned; lower is better.",
}
USERS = {
    "rmse": "Root mean square error of the predicted ratings; lower is better.",
    "correlation": "Pearson correlation of predicted and true ratings; 1 is perfect, 0 is blind.",
    "auc": "Probability that a logged next item scores above a random one; 0.5 is chance, 1 is perfect.",
    "auc_popular": "Probability that a logged next item scores above one drawn by popularity; 0.5 is chance.",
    "hr_10": "HR@10: share of logged next items among the ten best of all items outside the session.",
    "calibration_error": "Mean distance of predicted and observed shares over ten groups; 0 is perfect.",
    "next_items": "Logged next items that the model was fitted and tested on.",
    "greedy_on_test_model": "The best policy known: it takes the item with the highest true answer, step by step.",
    "greedy_on_train_model": "The same with the train world's answers: what can be carried over to the test world.",
    "model_cap": "Return of perfect planning on the user model, scored in the test world: what it knows caps what can "
    "be learnt from it.",
    "model_cap_non_personalised": "Return of perfect planning on the user model's mean per item.",
    "cap": "Return of perfect planning: no policy can be expected above it.",
    "oracle": "Return of a policy that knows every user's true answers.",
    "oracle_no_repeat": "Return of a policy that knows every user's true answers and never recommends an item twice.",
    "non_personalised": "Return of the best ranking that is the same for all users: only what is above it is "
    "personalisation.",
    "random_policy": "What recommending uniform random items reaches.",
    "random": "What recommending uniform random items reaches.",
    "uniform_reward": "Mean reward of a uniform random item.",
    "loss": "Held-out loss; lower is better.",
    "losses": "Held-out error after each pass over the data; lower is better.",
    "epochs": "Passes over the data before fitting stopped.",
    "return": "Mean sum of rewards of an episode.",
    "length": "Mean number of steps of an episode.",
    "reward_per_step": "Sum of all rewards / sum of all lengths.",
    "episodes": "Episodes behind these means.",
}


_ACRONYMS = ("rmse", "auc", "hr", "mse", "llm", "id")
_IN_RESULTS = ("return", "length", "reward_per_step", "episodes")


def readable_name(name: str) -> str:
    """A key as words for readers: ``held_out_rmse`` becomes ``Held out RMSE``."""
    text = " ".join(word.upper() if word in _ACRONYMS else word for word in str(name).split("_"))
    return text[:1].upper() + text[1:]


def user_meaning(path: str) -> str:
    """The meaning of a number on the simulated users: of its full name, else of the longest known end of it."""
    name = path.rsplit(".", 1)[-1]
    ends = [term for term in USERS if name == term or name.endswith(f"_{term}")]
    if ends:
        return USERS[max(ends, key=len)]
    return next((USERS[term] for term in ("random_policy", "random", "cap") if term in name), "")


def glossary(ids: Iterable[str], *, curves: bool, judge: bool, user_paths: Iterable[str]) -> list[tuple[str, str]]:
    """(term, meaning) of everything that this page shows: its methods, then its metrics."""
    entries = [(method.label, method.about) for method in method_styles(ids).values() if method.about]
    metrics = RESULTS | STATISTICS
    if curves:
        metrics |= CURVES
    if judge:
        metrics |= JUDGE
    entries += [(term[:1].upper() + term[1:], text) for term, text in metrics.items()]
    shown = dict.fromkeys(user_meaning(path) for path in user_paths)  # each meaning once, in the page's order
    known = {text: name for name, text in USERS.items()}
    entries += [(readable_name(known[text]), text) for text in shown if text and known[text] not in _IN_RESULTS]
    return entries
