"""Preprocess and train in one job, with the code of both steps."""
