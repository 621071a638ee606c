"""What a judge prefers, as a model of the items' texts that answers where the judge was never asked."""
