"""When a failed request may be sent again, and after what wait. Pure: no clock, no RPC.

Only before anything of the answer came, only for UNAVAILABLE (the server is not there, or ends, or lost its workers) and for refusals of a full
queue, which bring `grpc-retry-pushback-ms`. Bounded in number and in time.
"""
from __future__ import annotations

import random
from typing import Optional

from quire.errors import OverloadedError, QuireError, UnavailableError

_UNAVAILABLE_ATTEMPTS = 5
_OVERLOADED_ATTEMPTS = 200  # the time runs out first; a server that is full for long is no failure
_FIRST_WAIT = 0.1           # seconds, where the server names none; doubles
_LONGEST_WAIT = 10.0


class Retry:
    """The attempts of one request."""

    def __init__(self, seconds: float) -> None:
        """seconds: how long all waits together may take; 0 = no second attempt."""
        self._left = seconds
        self._unavailable = 0
        self._overloaded = 0

    def wait_after(self, error: QuireError) -> Optional[float]:
        """Seconds to wait before the next attempt; None: give up."""
        if error.started:
            return None
        if isinstance(error, UnavailableError):
            self._unavailable += 1
            if self._unavailable >= _UNAVAILABLE_ATTEMPTS:
                return None
            backoff = _FIRST_WAIT * 2 ** self._unavailable * random.uniform(0.5, 1.5)
            wait = backoff if error.retry_after is None else error.retry_after
        elif isinstance(error, OverloadedError) and error.retry_after is not None:
            self._overloaded += 1
            if self._overloaded >= _OVERLOADED_ATTEMPTS:
                return None
            wait = error.retry_after
        else:
            return None
        wait = min(wait, _LONGEST_WAIT)
        if wait > self._left:
            return None
        self._left -= wait
        return wait
