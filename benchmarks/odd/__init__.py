"""Checkpoints and tokenizers that are made on the spot, for `benchmarks/odd_checkpoints.py`."""
