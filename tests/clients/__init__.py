"""CVAT's own command line and SDK, unmodified, in an environment of their own, against the running service."""
