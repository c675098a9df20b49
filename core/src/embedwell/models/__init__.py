"""From a tag to a snapshot, and what its files say."""
