"""LoRA tuning of the judge on logged interactions."""
