"""Encoders: one file for each family of models, and one way to load and to use them.

Uses `images` for preprocessing and `io` for files. Knows no source and no stored part.
"""
