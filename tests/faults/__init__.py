"""Everything that can go wrong around the service, and what must be seen then; `tests/README.md` has the table."""
