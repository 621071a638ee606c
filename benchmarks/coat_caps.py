"""What can be known of Coat's test users from the train users' true ratings, and what return that is worth.

    python benchmarks/coat_caps.py --data DIR

For each fifth of the users (`catalogue.test_part`) the return of a policy that knows the leaving rule and takes, at
each step, the item that it thinks best of those that do not make the user leave. It thinks so by one ranking for
everybody (the train users' mean rating), by the user's attributes (ridge regression), by the covariance of the train
users' ratings and how the user answered so far (the posterior mean of a normal model: what `agent.feedback` makes
possible), or by the truth.
"""

from __future__ import annotations

import argparse

import numpy as np

from ialp_rllib.catalogue import read_source
from ialp_rllib.settings import load
from ialp_rllib.users.leaving import close_pairs, lookback
from ialp_rllib.users.references import Think, play
from ialp_rllib.users.worlds import require_truth

RIDGE, NOISE, SHRINK = 30.0, 0.5, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="Coat's folder")
    options = parser.parse_args()
    rows = [caps(options.data, part) for part in range(5)]
    names = list(rows[0])
    print("| part | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for part, row in enumerate(rows):
        print(f"| {part} | " + " | ".join(f"{row[name]:.1f}" for name in names) + " |")
    print("| all | " + " | ".join(f"{np.mean([row[name] for row in rows]):.1f}" for name in names) + " |")


def caps(data: str, part: int) -> dict[str, float]:
    """Mean returns over the test users of a part."""
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

    def posterior(user: int, session: np.ndarray) -> np.ndarray:
        seen = np.unique(session)
        inverse = np.linalg.inv(covariance[np.ix_(seen, seen)] + NOISE * np.eye(len(seen)))
        return mean + covariance[:, seen] @ inverse @ (truth[user, seen] - mean[seen])

    test = catalogue.test_users
    thinking: dict[str, np.ndarray | Think] = {
        "one ranking": np.broadcast_to(mean, (len(test), len(mean))),
        "attributes": mean + known[test] @ weights,
        "answers so far": lambda sessions: np.stack([posterior(u, s) for u, s in zip(test, sessions, strict=True)]),
        "truth": truth[test],
    }
    return {name: play(scores, truth[test], close, back)[0] for name, scores in thinking.items()}


if __name__ == "__main__":
    main()
