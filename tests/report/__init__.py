"""Tests of the reports; a package, so that other tests can import its synthetic measurements."""
