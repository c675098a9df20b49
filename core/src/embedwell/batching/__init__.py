"""From many waiting requests to few forward passes."""
