"""From image bytes to the pixels an encoder takes."""
