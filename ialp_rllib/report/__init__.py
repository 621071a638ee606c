"""Pages for people: the report of a run, the audit of a judge, and the parts that all pages share."""
