"""From a source to a stored part: read, decode, encode."""
