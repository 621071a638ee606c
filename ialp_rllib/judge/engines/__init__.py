"""Inference engines: transformers and vLLM behind one interface."""
