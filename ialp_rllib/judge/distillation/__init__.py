"""Distillation: a table of the judge's preferences, from sessions that it plays."""
