"""The page before real browsers: Chromium, driven by playwright, on a running service.

Needs `pip install playwright` and a `chromium` on the path (Debian: `apt-get install chromium`); without them the
browser tests are skipped, those of the served files are not.
"""
