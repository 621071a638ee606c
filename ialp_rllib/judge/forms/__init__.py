"""Answer forms: what an LLM is asked, and how its outputs become label probabilities. Imports neither Ray nor torch."""
