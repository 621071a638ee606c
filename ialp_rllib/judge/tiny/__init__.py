"""Training of a tiny judge, for machines without a GPU, from a scenario's own texts and log."""
