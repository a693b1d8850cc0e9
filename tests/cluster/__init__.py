"""The cluster shape as operators run it: web processes and workers of their own behind nginx, one PostgreSQL, one
bucket, no shared disk. Start with `processes.py`; `checks.py` says what must hold after any number of deaths, in both
shapes.
"""
