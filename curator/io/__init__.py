"""Bytes and their names: storage behind one door, file formats, and who owns a run directory.

What lives here knows no image and no embedding. It imports nothing of curator but `errors`.
"""
