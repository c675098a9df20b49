"""NVIDIA GPUs: their memory, and what NVML says of the board."""
