"""What a coreset is worth to self-supervised training: accuracy of probes on the grocery photos."""
