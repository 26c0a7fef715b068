"""Which execution each callback token belongs to: the gateway authorizes an answer by it."""

EXECUTIONS: dict[str, str] = {}
