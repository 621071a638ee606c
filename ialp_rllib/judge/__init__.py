"""The LLM that plays the user: prompt, labels, engines, tuning, audit, distillation."""
