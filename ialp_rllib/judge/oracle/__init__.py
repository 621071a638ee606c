"""The oracle: a judge that derives its answers from the ground truth, with a controlled error."""
