"""What the project costs in time and memory, against baselines of the same run."""
