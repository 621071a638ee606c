"""The methods that are compared. A method is its start weights, its way to act, and whether it learns online.

All share one algorithm, one replay, one runner and one evaluation; to add one, add an entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        title: as the papers write it.
        pretrained: whether it starts from the pre-trained policy pi_theta.
        mixture: whether it acts from the mixture of a frozen pi_theta and a learning pi_beta (Eq. 14).
        learns: whether it learns online.
        source: where it is defined.
        judged: whether the judge picks, online and when it is measured, which of its k proposals is shown.
    """

    title: str
    pretrained: bool
    mixture: bool
    learns: bool
    source: str
    judged: bool = False


METHODS = {
    "a2c": Method("A2C", False, False, True, "section 3's loss with the environment's reward, from random weights"),
    "ialp": Method("iALP", True, False, False, "iALP paper, Algorithm 1: the pre-trained policy, no further learning"),
    "aialp_ft": Method("A-iALP_ft", True, False, True, "iALP paper, Algorithm 2, fine-tuning: Eqs. 12, 13"),
    "llm_online": Method(
        "LLMOnline",
        False,
        False,
        True,
        "iALP paper, a comparison: the judge picks among the actor's proposals, the users' rewards are learnt from",
        judged=True,
    ),
    "aialp_ap": Method("A-iALP_ap", True, True, True, "iALP paper, Algorithm 2, adaptive policy: Eqs. 14, 15"),
}


def method(name: str) -> Method:
    """The method of this name, or an :class:`InputError`."""
    if name not in METHODS:
        raise InputError("adapt.methods", f"names {name!r}", f"any of {', '.join(METHODS)}")
    return METHODS[name]
