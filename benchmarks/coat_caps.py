"""What can be known of Coat's test users, and what return that is worth.

    python benchmarks/coat_caps.py --data DIR [--seed N]

For each fifth of the users (`catalogue.test_part`) the return of a policy that knows the leaving rule and takes, at
each step, the item that it thinks best of those that do not make the user leave.

Protocol split, where the train users' true ratings are to be had: it thinks so by one ranking for everybody (their
mean rating), by the user's attributes (ridge regression), by the covariance of their ratings and how the user answered
so far (the posterior mean of a normal model: what `agent.feedback` makes possible), or by the truth. Protocol transfer,
where there are logged ratings alone: by the user model's mean, by that less what its members disagree by
(`users.deepfm.pessimism`), or by the mean, its covariance over the train users and the answers so far.
"""

from __future__ import annotations

import argparse

import numpy as np

from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import load
from ialp_rllib.users import deepfm
from ialp_rllib.users.leaving import close_pairs, lookback
from ialp_rllib.users.references import ScoreFunction, rollout_scores
from ialp_rllib.users.worlds import require_truth

RIDGE, NOISE, SHRINK = 30.0, 0.5, 0.2
MODEL_NOISE, MODEL_ERROR = 0.1, 0.5  # variances: of an answer, and of what the user model does not know of an item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="Coat's folder")
    parser.add_argument("--seed", type=int, default=0, help="of the user model")
    options = parser.parse_args()
    settings = load("coat", [f"catalogue.data={options.data}"])
    catalogue = read_source(settings.catalogue)
    model, _ = deepfm.fit_deepfm(catalogue, settings.users.deepfm, options.seed)
    predicted = {kappa: deepfm.pessimistic_ratings(model, deepfm.Fields.of(catalogue), kappa) for kappa in (0.0, 1.0)}
    rows = [caps(options.data, part, predicted) for part in range(5)]
    names = list(rows[0])
    print("| part | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for part, row in enumerate(rows):
        print(f"| {part} | " + " | ".join(f"{row[name]:.1f}" for name in names) + " |")
    print("| all | " + " | ".join(f"{np.mean([row[name] for row in rows]):.1f}" for name in names) + " |")


def caps(data: str, part: int, predicted: dict[float, np.ndarray]) -> dict[str, float]:
    """Mean returns over the test users of a part. ``predicted``: the user model's ratings by pessimism, ``(U, I)``."""
    settings = load("coat", [f"catalogue.data={data}", f"catalogue.test_part={part}"])
    catalogue = read_source(settings.catalogue)
    truth = require_truth(catalogue).astype(float)
    train, distance = catalogue.train_users, settings.users.distance
    close = close_pairs(truth, distance.distance)
    back = lookback(distance.window, distance.lookback, settings.users.horizon)
    mean = truth[train].mean(0)
    apart = truth[train] - mean

    codes, sizes = catalogue.codes(catalogue.user_texts)
    known = np.concatenate([np.eye(size)[codes[:, f]] for f, size in enumerate(sizes)], 1)
    known = known - known[train].mean(0)
    weights = np.linalg.solve(known[train].T @ known[train] + RIDGE * np.eye(known.shape[1]), known[train].T @ apart)

    covariance = apart.T @ apart / len(train)
    covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
    model = predicted[0.0].astype(float)
    known_apart = model[train] - model[train].mean(0)
    model_covariance = known_apart.T @ known_apart / len(train) + MODEL_ERROR * np.eye(catalogue.n_items)

    test = catalogue.test_users
    thinking: dict[str, np.ndarray | ScoreFunction] = {
        "one ranking": np.broadcast_to(mean, (len(test), len(mean))),
        "attributes": mean + known[test] @ weights,
        "answers so far": posterior(np.broadcast_to(mean, truth.shape)[test], covariance, NOISE, truth[test]),
        "truth": truth[test],
        "user model": model[test],
        "pessimistic": predicted[1.0][test],
        "user model and answers": posterior(model[test], model_covariance, MODEL_NOISE, truth[test]),
    }
    return {name: rollout_scores(scores, truth[test], close, back)[0] for name, scores in thinking.items()}


def posterior(prior: np.ndarray, covariance: np.ndarray, noise: float, truth: np.ndarray) -> ScoreFunction:
    """What is believed of each user after the answers so far: the mean of a normal model.

    Args:
        prior: ``(U, I)`` what is believed before any.
        covariance: ``(I, I)`` of the items' ratings over users.
        noise: variance of an answer.
        truth: ``(U, I)`` the answers.
    """

    def think(sessions: np.ndarray) -> np.ndarray:
        believed = prior.copy()
        for user, session in enumerate(sessions):
            seen = np.unique(session)
            among = covariance[np.ix_(seen, seen)] + noise * np.eye(len(seen))
            believed[user] += covariance[:, seen] @ np.linalg.solve(among, truth[user, seen] - prior[user, seen])
        return believed

    return think


if __name__ == "__main__":
    main()
