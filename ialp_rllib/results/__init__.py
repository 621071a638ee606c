"""Evaluation results: Arrow schemas, recommendation measures, statistics over seeds, and the published results."""
