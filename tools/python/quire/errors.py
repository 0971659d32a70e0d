"""What can go wrong, as classes: every failure of an RPC is a QuireError that carries the server's code and the field at fault."""
from __future__ import annotations

from typing import Mapping, Optional

import grpc


class QuireError(RuntimeError):
    """A request failed.

    code: the gRPC status by name, e.g. "INVALID_ARGUMENT". field: the field at fault, e.g. "sampling_params.top_p", if one is.
    retry_after: seconds after which another attempt can help, if the server said so. started: a part of the answer had come already.
    """

    def __init__(self, message: str, *, code: str = "UNKNOWN", field: Optional[str] = None,
                 retry_after: Optional[float] = None, started: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.started = started

    def __str__(self) -> str:
        return f"{self.code}{f' ({self.field})' if self.field else ''}: {self.message}"


class InvalidRequestError(QuireError, ValueError):
    """A value is out of range, or does not fit the model (INVALID_ARGUMENT, OUT_OF_RANGE, FAILED_PRECONDITION, ALREADY_EXISTS)."""


class NotServedError(QuireError, NotImplementedError):
    """The server knows the feature and does not offer it (UNIMPLEMENTED)."""


class NotFoundError(QuireError):
    """The server has no model of this name (NOT_FOUND)."""


class AuthenticationError(QuireError):
    """No API key, or a wrong one (UNAUTHENTICATED)."""


class PermissionDeniedError(QuireError):
    """The API key does not allow this (PERMISSION_DENIED)."""


class OverloadedError(QuireError):
    """The server's queue, or the tenant's share of it, is full, or a message is too large (RESOURCE_EXHAUSTED)."""


class UnavailableError(QuireError, ConnectionError):
    """The server cannot be reached, is ending, or lost its workers (UNAVAILABLE)."""


class DeadlineExceededError(QuireError, TimeoutError):
    """The time that the request was given is over (DEADLINE_EXCEEDED)."""


class RequestCancelledError(QuireError):
    """The request was aborted (CANCELLED, ABORTED)."""


class InternalServerError(QuireError):
    """A failure inside the server (INTERNAL, DATA_LOSS, UNKNOWN)."""


class ServerStartError(QuireError):
    """A local coordinator could not be started."""


_CLASSES = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "FAILED_PRECONDITION": InvalidRequestError,
    "ALREADY_EXISTS": InvalidRequestError,
    "UNIMPLEMENTED": NotServedError,
    "NOT_FOUND": NotFoundError,
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "RESOURCE_EXHAUSTED": OverloadedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "CANCELLED": RequestCancelledError,
    "ABORTED": RequestCancelledError,
}


def from_rpc(error: grpc.RpcError, started: bool = False) -> QuireError:
    """The exception that tells what `error`, as raised by a call, means."""
    code = error.code().name
    trailers: Mapping[str, str] = {key: value for key, value in (error.trailing_metadata() or ()) if isinstance(value, str)}
    pushback = trailers.get("grpc-retry-pushback-ms", "")
    retry_after = int(pushback) / 1000 if pushback.isdigit() else None
    return _CLASSES.get(code, InternalServerError)(error.details() or "no details", code=code, field=trailers.get("error-param"),
                                                   retry_after=retry_after, started=started)
