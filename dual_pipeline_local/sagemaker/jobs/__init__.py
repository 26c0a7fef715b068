"""Processing and training jobs as real processes."""
