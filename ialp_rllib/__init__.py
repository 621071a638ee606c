"""ialp_rllib: recommenders that have met their users before launch."""

__version__ = "0.1.0"
