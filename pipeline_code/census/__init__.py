"""Predict from a census record whether a person earns more than 50,000 dollars a year."""
