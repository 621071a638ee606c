"""Judges that are no LLM and know no test truth: what an LLM adds is its distance to the best of them."""
