"""Coat, uniform random policy: mean return and length with both windows of the leaving rule.

python benchmarks/coat_random.py --data DIR [--episodes 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ialp_rllib.users.named import coat_vector_env
from ialp_rllib.users.planning import random_policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Coat archive")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.episodes} episodes, seed {options.seed}")
    for form in ("plain", "published"):
        for split in ("train", "test"):
            env = coat_vector_env(str(options.data), split, distance={"lookback": form})
            means = random_policy(env.sim.world, options.episodes, options.seed)
            print(f"{form:9} window, {split:5} users: R {means['return']:.2f}, length {means['length']:.2f}")


if __name__ == "__main__":
    main()
