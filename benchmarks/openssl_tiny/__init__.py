"""What a coreset is worth to self-supervised training: probes of encoders trained on hard targets and what it found."""
