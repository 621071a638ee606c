"""Settings of a served policy (`ialp serve`), and how they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.settings.adapt import AlphaSettings
from ialp_rllib.settings.base import from_dict, group, setting
from ialp_rllib.settings.strict_yaml import parse_yaml


@dataclass(frozen=True)
class HttpSettings:
    """The service's door."""

    host: str = setting(
        "127.0.0.1",
        "Address that the service listens on. The default is reached from this machine only; others need a token.",
    )
    port: int = setting(8000, "Port that the service listens on.", low=1, high=65_535)
    token_file: str = setting(
        "", "File with the bearer token that every request must carry; empty: none is asked for (loopback only)."
    )
    replicas: int = setting(1, "Processes that answer requests.", low=1, high=1024)
    batch: int = setting(64, "Requests that are answered together at most.", low=1, high=4096, advanced=True)
    wait: float = setting(
        0.002,
        "Seconds that a request waits for others to be answered with, beside those that came while the requests "
        "before it were being answered.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    proxy: bool = setting(
        False,
        "Let Ray Serve's proxy take the requests and pass them on, for its metrics; it takes most of the time of a "
        "request. false: the replicas accept connections themselves. On a cluster there is always a proxy.",
        advanced=True,
    )
    body_kb: int = setting(
        64, "Size of a request's body at most, in kB; a larger one is refused.", low=1, high=1 << 16, advanced=True
    )
    items: int = setting(
        1000, "Items that a request may list as shown; a longer list is refused.", low=1, high=100_000, advanced=True
    )
    slate: int = setting(50, "Items that one request may ask for (`k`).", low=1, high=1000, advanced=True)


@dataclass(frozen=True)
class FeedbackSettings:
    """What becomes of decisions with a late answer, or with none."""

    reward_low: float = setting(0.0, "Lowest reward; a lower one is refused. Default: that of the exported run.")
    reward_high: float = setting(1.0, "Highest reward; a higher one is refused. Default: that of the exported run.")
    default_reward: float = setting(
        0.0, "Reward of a decision that was shown and got no feedback within `feedback_timeout`."
    )
    feedback_timeout: float = setting(
        600.0,
        "Seconds after which a shown decision without feedback gets `default_reward`; at most `session_timeout`.",
        low=0.01,
        high=1e7,
    )
    session_timeout: float = setting(
        1800.0, "Seconds of silence after which a user has left the session.", low=0.01, high=1e7
    )


@dataclass(frozen=True)
class GuardSettings:
    """Who gets which version, and when one is promoted or rolled back."""

    control: float = setting(
        0.05, "Share of the sessions that the frozen policy pi_theta serves for ever.", low=0.001, high=0.5
    )
    canary: float = setting(0.1, "Share of the sessions that try a version before all get it.", low=0.001, high=0.9)
    sessions: int = setting(
        500, "Ended sessions of the canary, at least, before its version is promoted.", low=2, high=10**8
    )
    margin: float = setting(
        0.02,
        "Share of the present version's return by which a promoted one may be worse, at the confidence's bound.",
        low=0.0,
        high=1.0,
    )
    confidence: float = setting(0.95, "Level of the intervals on session returns.", low=0.5, high=0.9999, advanced=True)
    coverage: float = setting(
        0.1,
        "A version is rolled back where it shows fewer effective items than this share of those of pi_theta.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    fallbacks: float = setting(
        0.5,
        "A version is rolled back where pi_theta stood in for it, since it was too slow or missing, in more than this "
        "share of at least 200 decisions over at least 20 times `cool_down`. One with probabilities that are not "
        "finite is rolled back at once.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    rise: float = setting(
        1.5,
        "Factor by which alpha may rise from the promoted version to the next: what is logged by one mixture tells "
        "enough of the next.",
        low=1.0,
        high=100.0,
        advanced=True,
    )
    least_alpha: float = setting(
        0.05,
        "Lowest alpha of a version: below it the log tells too little of pi_beta.",
        low=0.001,
        high=1.0,
        advanced=True,
    )
    deadline: float = setting(
        0.25,
        "Seconds that pi_beta may take for a batch. After a slower one pi_theta answers alone for `cool_down` seconds.",
        low=0.0001,
        high=3600.0,
        advanced=True,
    )
    cool_down: float = setting(
        1.0,
        "Seconds for which pi_theta answers alone after pi_beta was too slow.",
        low=0.0,
        high=3600.0,
        advanced=True,
    )


@dataclass(frozen=True)
class TrafficSettings:
    """Simulated users of a run's world that ask the service (`ialp serve --simulate RUN`)."""

    users: int = setting(32, "Users at the same time.", low=1, high=10_000)
    world: str = setting(
        "test",
        "The taste of the users. test: that of the test world, which the policy was not made for. train: that of the "
        "train world. Both with the users of the train world.",
        choices=("test", "train"),
    )
    moved: float = setting(
        0.0,
        "Strength, in logits, by which the taste of the test world has moved on, beside `users.test_shift` of the run.",
        low=0.0,
        high=10.0,
    )
    pause: float = setting(0.0, "Seconds between two steps of a user.", low=0.0, high=3600.0, advanced=True)
    late: float = setting(0.2, "Share of the feedback that comes late and in another order.", low=0.0, high=1.0)
    lost: float = setting(0.01, "Share of the feedback that never comes.", low=0.0, high=1.0)
    twice: float = setting(0.03, "Share of the feedback that comes twice.", low=0.0, high=1.0)
    seed: int = setting(1, "Random seed of the users.", low=0, advanced=True)


@dataclass(frozen=True)
class ServingSettings:
    """A served policy that learns from its users."""

    learn: bool = setting(True, "Learn from the feedback; false: serve, log and compare only.")
    seed: int = setting(0, "Random seed of the learner.", low=0, advanced=True)
    publish_updates: int = setting(200, "Updates, at least, from one published version to the next.", low=1, high=10**9)
    checkpoint_seconds: float = setting(
        60.0, "Seconds between checkpoints of the learner.", low=0.0, high=1e6, advanced=True
    )
    poll: float = setting(
        1.0, "Seconds between two looks for a new version, or for new feedback.", low=0.01, high=3600.0, advanced=True
    )
    segment_mb: int = setting(
        8, "Size at which a file of the log is closed and the next begun, in MB.", low=1, high=4096, advanced=True
    )
    http: HttpSettings = group(HttpSettings)
    feedback: FeedbackSettings = group(FeedbackSettings)
    guard: GuardSettings = group(GuardSettings)
    alpha: AlphaSettings = group(AlphaSettings)
    traffic: TrafficSettings = group(TrafficSettings)

    @property
    def by_session(self) -> bool:
        """Whether one of the two policies is drawn with each session, instead of anew at each step."""
        return self.alpha.by == "session"


def serving_settings(
    defaults: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "policy.json"
) -> ServingSettings:
    """Settings of a service: what an exported policy says of them, and ``key=value`` with dotted keys.

    Args:
        defaults: nested mapping, such as ``{"alpha": {...}, "feedback": {"reward_high": 10}}``.
        where: origin of ``defaults``, for messages.

    Raises:
        InputError: unknown key; value of the wrong type or out of range; contradictory values.
    """
    tree = {key: dict(value) if isinstance(value, Mapping) else value for key, value in defaults.items()}
    places = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        place = f"--set {override}"
        if not equals or not key:
            raise InputError(place, "is not key=value", "for example --set guard.canary=0.2")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            raise InputError(place, "the value is not valid YAML", "for example 3, true, 0.5") from error
        places[key] = place
        *groups, last = key.split(".")
        inner: Any = tree
        for name in groups:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise InputError(place, f"{name!r} is a value, not a group of settings")
        inner[last] = value
    settings = from_dict(ServingSettings, tree, where, places=places)
    _check(settings)
    return settings


def _check(settings: ServingSettings) -> None:
    feedback, guard, http = settings.feedback, settings.guard, settings.http
    if not feedback.reward_low < feedback.reward_high:
        raise InputError("feedback.reward_low", f"is {feedback.reward_low}", f"below {feedback.reward_high}")
    if not feedback.reward_low <= feedback.default_reward <= feedback.reward_high:
        expected = f"from feedback.reward_low = {feedback.reward_low} to feedback.reward_high = {feedback.reward_high}"
        raise InputError("feedback.default_reward", f"is {feedback.default_reward}", expected)
    if feedback.feedback_timeout > feedback.session_timeout:
        expected = f"at most feedback.session_timeout = {feedback.session_timeout}: no answer comes after the session"
        raise InputError("feedback.feedback_timeout", f"is {feedback.feedback_timeout}", expected)
    if guard.control + guard.canary >= 1:
        raise InputError("guard.control", "and guard.canary leave no session to the promoted version", "a sum below 1")
    if http.host not in ("127.0.0.1", "localhost", "::1") and not http.token_file:
        expected = "http.token_file: whoever reaches this address could use the service"
        raise InputError("http.host", f"is {http.host}, without a token", expected)
