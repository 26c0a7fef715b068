"""Constructs and configuration of the dual pipeline.

Import from the modules: the configuration must load without aws_cdk.
"""
