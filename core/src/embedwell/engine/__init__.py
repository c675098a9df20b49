"""What computes vectors: token ids in, float32 rows out."""
