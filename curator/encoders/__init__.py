"""Encoders: one file per family of models, one way to load and to use them."""
