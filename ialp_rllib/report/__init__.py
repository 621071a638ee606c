"""HTML reports: of a run (:mod:`.run`), of the audit of a judge (:mod:`.audit`), and what they share (:mod:`.kit`)."""
