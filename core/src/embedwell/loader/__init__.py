"""Plugins: found, checked, configured by their tables, built."""
