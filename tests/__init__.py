"""Tests, in the order of the house: a folder here for each package of `app`, and the outer proof beside them.

`service.py` starts the real service; `environments.py` makes the environments of foreign tools; `clients/` drives the
service with CVAT's own clients, `judges/` lets datumaro read what we write, `bench/` measures.
"""
