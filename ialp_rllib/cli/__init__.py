"""The command line ``ialp``: one file per group of verbs. Help and checks load none of the heavy libraries."""
