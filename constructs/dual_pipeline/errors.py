"""The errors a user of the project can cause: one small tree, each with a headline for people."""


class DualPipelineError(Exception):
    """A mistake in configuration or input; the message says what was wrong, what was got and what to do."""


class ConfigError(DualPipelineError, ValueError):
    """A field of the configuration holds a value that is not allowed."""


class StaleDefinition(DualPipelineError):
    """A committed pipeline definition is missing or no longer matches the code it was compiled from."""
