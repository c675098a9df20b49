"""Measures servers that speak OpenAI's embeddings API, from outside, one beside the other."""
