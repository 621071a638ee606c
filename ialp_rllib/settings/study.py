"""Settings of a sweep: which method, how trials are chosen and stopped, and by what they are judged."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting

METRICS = tuple(f"{name}@{epoch}" for name in ("return", "length", "reward_per_step") for epoch in ("end", "1", "2"))


@dataclass(frozen=True)
class StudySettings:
    """A study. In its YAML file, `vary` and `set`, mappings of settings, lie beside these."""

    question: str = setting("", "What the study asks, in a sentence.")
    scenario: str = setting("sample", "Name of a scenario of the package, or path of a YAML file.")
    method: str = setting("aialp_ap", "The method that is trained.")
    search: str = setting(
        "grid",
        "How trials are chosen. grid: all combinations of the values. random: drawn with a fixed seed. optuna: by a "
        "model of the results so far (a tree of Parzen estimators).",
        choices=("grid", "random", "optuna"),
    )
    trials: int = setting(20, "Number of trials of `random` and `optuna`.", low=1, high=100_000)
    stop: str = setting(
        "none",
        "Which trials end early. none: no one. asha: the worse ones, at environment steps that grow by a factor "
        "(asynchronous successive halving).",
        choices=("none", "asha"),
    )
    reduction: int = setting(
        3, "asha: one of how many trials goes on at each of these steps, which grow by this factor.", low=2, high=100
    )
    grace: int = setting(
        0,
        "asha: environment steps before which no trial is stopped; 0: two epochs, and half of the rise of alpha where "
        "the method has one, as its effect is late.",
        low=0,
        advanced=True,
    )
    seeds: int = setting(
        3,
        "Training runs per trial, whose mean counts; the winner is measured again with as many others.",
        low=1,
        high=1000,
    )
    metric: str = setting(
        "return@end",
        "What is compared, of the greedy policy in the validation world: return, length or reward_per_step, after "
        "training (end) or one or two epochs (1, 2).",
        choices=METRICS,
    )
    concurrent: int = setting(0, "Trials that run side by side; 0: as many as there are CPUs.", low=0, high=100_000)
    seed: int = setting(0, "Random seed of the search.", low=0, advanced=True)
