"""Names of what a module computes in training for the objectives, ``(B,)`` each."""

from __future__ import annotations

# log pi(a|s), H(pi(.|s)), E_pi Q(s, .), Q(s, a), and the value of s'
LOG_PROB, ENTROPY, VALUE, Q, NEXT_VALUE = "log_prob", "entropy", "value", "q", "next_value"
BASELINE = "baseline"  # b(s) of REINFORCE
DIFFERENCE, RATIO = "difference", "ratio"  # comparison of beta and theta, see losses.gain
CONSERVATIVE = "conservative"  # a scalar: the calibrated conservative term of the critic, where it has a weight
DIVERGENCE = "divergence"  # KL(pi || pi_start) of the learning policy, where it is held to its start
