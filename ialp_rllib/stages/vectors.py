"""Text vectors of the items for the agent, `agent.item_vectors`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.vectors import centred, encoder_content, principal, text_vectors, token_vectors
from ialp_rllib.settings import LLM, WORDS, AgentSettings, Settings, parse_judge_model
from ialp_rllib.stages.content import model_content

COMPONENTS = 128
"""Principal components that the agent is given: of MiniLM's 384 they hold nearly all of what tells items apart, and
the projection of a whole catalogue, once per update, costs a third."""


def item_vectors(settings: Settings, catalogue: Catalogue) -> np.ndarray | None:
    """The vectors that ``agent.item_vectors`` asks for, ``(I, D) float32`` of length 1; None: none.

    `embedding:FOLDER`: by the encoder in this folder. `llm`: means of the judge model's input embeddings of the text's
    tokens (:func:`.vectors.token_vectors`), before any tuning.

    Raises:
        InputError: the model cannot be used.
    """
    agent, attributes = settings.agent, settings.catalogue.attributes
    if not agent.item_attributes or agent.item_vectors == WORDS:
        return None
    if agent.item_vectors == LLM:
        vectors = token_vectors(catalogue, resolve_model(settings.judge.model), attributes)
    else:
        vectors = text_vectors(catalogue, parse_judge_model(agent.item_vectors).folder, attributes)
    return principal(centred(vectors), COMPONENTS)


def by_content(agent: AgentSettings, settings: Settings) -> AgentSettings:
    """An agent's settings with the model of its vectors by content: one changed in the same folder is another one."""
    if agent.item_vectors == WORDS:
        return agent
    if agent.item_vectors == LLM:
        return replace(agent, item_vectors=f"{LLM}:{model_content(settings.judge.model)}")
    return replace(agent, item_vectors=encoder_content(parse_judge_model(agent.item_vectors).folder))
