"""datumaro, in an environment of its own, as the judge of what we write and the writer of what we read."""
