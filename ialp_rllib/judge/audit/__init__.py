"""Audit of a judge: accuracy, calibration, and biases on held-out users."""
