"""From the arguments of LLM and AsyncLLM to a server: one that runs, or one that is started."""
from __future__ import annotations

import os
from typing import Any, Dict, Optional

from quire._channel import Endpoint
from quire.engine_args import coordinator_flags
from quire.local_server import LocalServer
from quire.model_path import resolve_model

_TO_RUNNING = ("api_key", "ca_cert", "client_cert", "client_key", "tls")
_TO_STARTED = {"tensor_parallel_size": 1, "revision": None, "start_timeout": 600.0, "show_progress": True}


class Connection:
    """endpoint: where it is. server: ours, or None. model_name: what requests shall give as `model`. Raises what LLM() raises."""

    def __init__(self, model: Optional[str], server: Optional[str], arguments: Dict[str, Any]) -> None:
        self.server: Optional[LocalServer] = None
        self.model_name: Optional[str] = None
        known = {name: arguments.pop(name) for name in _TO_RUNNING if name in arguments}
        if server is not None:
            given = sorted(name for name, value in arguments.items() if value is not None)
            if given:
                raise TypeError(f"{', '.join(given)}: for a server that is started, not with server={server!r}")
            self.endpoint = Endpoint(server, **known)
            self.model_name = model
            return
        if model is None:
            raise TypeError("give model='DIR' to start a server, or server='host:port' to use one")
        own = {name: arguments.pop(name, default) for name, default in _TO_STARTED.items()}
        directory = resolve_model(model, own["revision"])
        if not os.path.isdir(os.path.expanduser(model)):
            arguments.setdefault("served_model_name", model)
        flags = coordinator_flags(directory, own["tensor_parallel_size"], arguments)
        self.server = LocalServer(directory, flags, own["start_timeout"], own["show_progress"])
        self.endpoint = Endpoint(self.server.address, **known)

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
