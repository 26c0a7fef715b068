"""Why drift cannot be measured at all."""


class DriftError(Exception):
    """A mistake that somebody has to mend; the job ends with this sentence and no traceback."""
