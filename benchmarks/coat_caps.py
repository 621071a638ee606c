"""Upper bounds on Coat: the return that different kinds of information about the test users allow.

    python benchmarks/coat_caps.py --data DIR [--seed N]

For each fifth of the users (`catalogue.test_part`), the return of a policy that knows the leaving rule and takes, at
each step, the item with the highest estimate among those that do not make the user leave.

Protocol split, with the true ratings of the train users: estimates by one ranking for all users (mean rating), by the
user's attributes (ridge regression), by the covariance of the ratings and the user's answers so far (posterior mean of
a normal model: what `agent.feedback` makes possible), and by the truth. Protocol transfer, with logged ratings only: by
the user model's mean, by its mean minus the disagreement of its members (`users.deepfm.pessimism`), and by its mean,
its covariance over the train users and the answers so far.
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
MODEL_NOISE, MODEL_ERROR = 0.1, 0.5  # variances: of an answer, and of the user model's error per item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the Coat archive")
    parser.add_argument("--seed", type=int, default=0, help="seed of the user model")
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
    """Mean return over the test users of a part, by kind of information.

    Args:
        data: folder of the Coat archive.
        part: ``catalogue.test_part``.
        predicted: pessimism -> ratings predicted by the user model, ``(U, I)``.
    """
    settings = load("coat", [f"catalogue.data={data}", f"catalogue.test_part={part}"])
    catalogue = read_source(settings.catalogue)
    truth = require_truth(catalogue).astype(float)
    train, distance = catalogue.train_users, settings.users.distance
    close = close_pairs(truth, distance.distance)
    back = lookback(distance.window, distance.lookback, settings.users.horizon)
    mean = truth[train].mean(0)
    residual = truth[train] - mean

    codes, sizes = catalogue.codes(catalogue.user_texts)
    known = np.concatenate([np.eye(size)[codes[:, f]] for f, size in enumerate(sizes)], 1)
    known = known - known[train].mean(0)
    weights = np.linalg.solve(known[train].T @ known[train] + RIDGE * np.eye(known.shape[1]), known[train].T @ residual)

    covariance = residual.T @ residual / len(train)
    covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
    model = predicted[0.0].astype(float)
    model_residual = model[train] - model[train].mean(0)
    model_covariance = model_residual.T @ model_residual / len(train) + MODEL_ERROR * np.eye(catalogue.n_items)

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
    """Estimates of each user's answers after the answers so far: posterior mean of a normal model.

    Args:
        prior: ``(U, I)`` estimates before the first answer.
        covariance: ``(I, I)`` covariance of the items' ratings over users.
        noise: variance of an answer.
        truth: ``(U, I)`` answers.
    """

    def think(sessions: np.ndarray) -> np.ndarray:
        mean = prior.copy()
        for user, session in enumerate(sessions):
            seen = np.unique(session)
            observed = covariance[np.ix_(seen, seen)] + noise * np.eye(len(seen))
            mean[user] += covariance[:, seen] @ np.linalg.solve(observed, truth[user, seen] - prior[user, seen])
        return mean

    return think


if __name__ == "__main__":
    main()
