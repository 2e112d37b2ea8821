"""From the bytes of an image to the pixels that an encoder takes.

Knows no file, no source and no encoder. It imports nothing of curator but `errors`.
"""
