"""Errors that the local AWS answers with."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal by an AWS service: error code, message and HTTP status as the service would answer them."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class EmulatorError(Exception):
    """The local AWS itself cannot start or go on; the message says what was wrong and what to do."""
