"""An LLM as the environment of offline recommenders: item tokens, states, rewards and augmented actions (LEA)."""
