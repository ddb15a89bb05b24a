"""Tests, one file per behaviour; what they share is in counts.py, generators.py and conftest.py."""
