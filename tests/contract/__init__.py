"""The contract against the running service: a client that is generated of it, and a fuzzer that reads it.

Each program lives in an environment of its own (`tests/environments.py`). A longer round of the fuzzer, on request:

    pytest -m long tests/contract
"""
