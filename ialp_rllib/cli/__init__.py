"""The command line ``ialp``: one file per group of commands. Help and ``doctor`` load no heavy libraries."""
