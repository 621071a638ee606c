"""Sweeps: trials of one method with varied settings, on Ray Tune, chosen in the validation world."""
