"""The report of `ialp lea`: rankings of offline recommenders with an LLM as their environment."""
