"""``python -m ialp_rllib.cli``."""

from ialp_rllib.cli.main import main

main()
