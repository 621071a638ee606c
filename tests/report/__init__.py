"""Tests of the report; a package, so that its made-up measurements can be imported."""
