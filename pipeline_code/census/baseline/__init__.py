"""A step beside training: what a plain logistic regression reaches, for the model to beat."""
