"""The demo: its images, and an ordinary selection from them."""
