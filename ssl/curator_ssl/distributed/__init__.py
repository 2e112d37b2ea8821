"""Processes that train together: which of them this is, and what they say to each other.

One module knows the rank (`ranks`); tensors that carry gradients across ranks are in `all_gather`. No image and no
setting comes in here.
"""
