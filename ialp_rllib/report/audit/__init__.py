"""The audit of a judge: its section in the report of a run, and a page that shows it alone."""
