"""Tests of :mod:`ialp_rllib.judge.controls`."""
