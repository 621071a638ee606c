"""Off-policy evaluation: what a policy would have earned, estimated from the logged decisions of another one.

Plain NumPy and torch. :mod:`.log` reads logs, :mod:`.sessions` makes arrays of them, :mod:`.targets` says what a policy
must tell, :mod:`.estimators` and :mod:`.fqe` estimate, :mod:`.bounds` gives intervals, :mod:`.gate` decides, and
:mod:`.evaluate` does all of it.
"""
