"""Fuzzers of everything that reads what strangers send; `targets.py` lists them."""
