"""The loaded models of one device."""
