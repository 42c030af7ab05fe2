# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions. Each has a code, the same as the API's, and the argument that it is about."""


class Error(Exception):
    """What every failure of the engine is.

    code: "invalid_argument", "not_found", "exhausted" (a bound was reached: memory, queue, disk), "unavailable",
    "corrupt" (a file is not what it must be), "permission_denied", "unauthenticated", "deadline", "cancelled" or
    "internal".
    where: the argument, flag or field that it is about, or "".
    """

    def __init__(self, message: str, code: str = "internal", where: str = ""):
        super().__init__(message)
        self.code = code
        self.where = where


class InvalidArgumentError(Error, ValueError):
    """The same call can never succeed: an argument, or a checkpoint that needs what the engine lacks."""


class NotFoundError(Error, LookupError):
    """There is no such model, file or folder."""


_CLASSES: dict[str, type[Error]] = {"invalid_argument": InvalidArgumentError, "not_found": NotFoundError}


def error_of(code: str, message: str, where: str) -> Error:
    """The exception of an error of the engine."""
    return _CLASSES.get(code, Error)(message, code, where)
