"""The page of an off-policy evaluation."""
