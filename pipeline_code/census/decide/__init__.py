"""An optional step: the project's own last word, a Lambda function between a passed gate and the registry."""
