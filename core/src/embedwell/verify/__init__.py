"""Whether a model's vectors are what they should be on this machine."""
