"""Constructs and configuration of the dual pipeline; import from its modules, for the configuration must load without aws_cdk."""
