"""Terms of a ranking report."""

from __future__ import annotations

GLOSSARY = {
    "HR@k, NDCG@k, MRR": "1 if the true next item is among the first k of the ranking; 1 / log2(rank + 2) if it is; "
    "1 / (rank + 1); with ranks from 0, means over the cases.",
    "s, r, sr, lea, leasr": "A recommender with the LLM environment's states (s), its rewards (r), both (sr), its "
    "augmented actions (lea), all (leasr). Rewards are 1 without r. both: leasr with states that the softmax reads as "
    "well, so that every ranking needs the LLM.",
    "leasr_fresh": "leasr without what the environment says about the train users that it was learnt from or stopped "
    "by: it has seen their next items. They are learnt from without states and actions, with the mean reward of the "
    "others.",
    "augmented action": "The item that the environment expects after a history, neither seen nor the logged next one.",
    "reward": "σ(r(s, a) − mean of r(s, ·) over uniform items): 0.5 is indifference. The Bradley-Terry loss leaves r "
    "free up to a function of the state.",
    "softmax, Q": "The head that ranks. With `le_to=q` the states reach Q alone: the softmax needs no LLM to rank; Q "
    "of a row with states does.",
    "shuffled, noise, text": "Controls: leasr with the states of other sequences, with noise, or with decayed means "
    "of text vectors, untrained.",
    "reward_1, neighbour": "Controls: leasr with rewards of 1, and with item kNN's best item in the place of the "
    "environment's action; its reward and the state after it are the environment's.",
    "llm_free": "Control: states, rewards and actions of a recurrent network over random item vectors, with as many "
    "trained parameters, the same users and the same losses.",
    "eval": "Control: cross-entropy with the prediction of the number of items read as auxiliary loss, no rewards "
    "(after Labarca Silva et al., ICML 2024).",
}
"""Terms and their meanings."""
