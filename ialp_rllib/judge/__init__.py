"""LLM judges that choose items in a user's stead: prompts, inference engines, LoRA tuning, audit, distillation."""
