"""What both clients know about reaching a server: options, credentials, names of the methods."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import grpc

from quire._proto import generate_pb2 as pb

_SERVICE = "/quire.v1.Generator/"
METHODS: Dict[str, Tuple[Any, Any]] = {  # name: (request, response)
    "Generate": (pb.GenerateRequest, pb.GenerateResponse),
    "Abort": (pb.AbortRequest, pb.AbortResponse),
    "Tokenize": (pb.TokenizeRequest, pb.TokenizeResponse),
    "Detokenize": (pb.DetokenizeRequest, pb.DetokenizeResponse),
    "GetModelInfo": (pb.GetModelInfoRequest, pb.GetModelInfoResponse),
    "GetServerInfo": (pb.GetServerInfoRequest, pb.GetServerInfoResponse),
    "GetLoads": (pb.GetLoadsRequest, pb.GetLoadsResponse),
}
# Log-probs of a long prompt are large; the rest keeps a silent connection of a long call known to be alive.
OPTIONS: List[Tuple[str, Any]] = [
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.primary_user_agent", "quire-python"),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment is meant for the web, not for a server at an address
    ("grpc.use_local_subchannel_pool", 1),  # two clients never share a connection, so closing one frees it
]


@dataclass
class Endpoint:
    """Where a server is and how to show who we are. Files hold PEM; api_key is sent as `authorization: Bearer ...`."""
    server: str
    api_key: Optional[str] = None
    ca_cert: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None
    tls: bool = False

    def __post_init__(self) -> None:
        self.api_key = self.api_key or os.environ.get("QUIRE_API_KEY")
        for scheme, tls in (("https://", True), ("grpcs://", True), ("http://", False), ("grpc://", False)):
            if self.server.startswith(scheme):
                self.server, self.tls = self.server[len(scheme):].rstrip("/"), self.tls or tls
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together")

    def metadata(self) -> List[Tuple[str, str]]:
        return [("authorization", f"Bearer {self.api_key}")] if self.api_key else []

    def credentials(self) -> Optional[grpc.ChannelCredentials]:
        """None: plaintext."""
        if not (self.tls or self.ca_cert or self.client_cert):
            return None
        return grpc.ssl_channel_credentials(_read(self.ca_cert), _read(self.client_key), _read(self.client_cert))


def _read(path: Optional[str]) -> Optional[bytes]:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def make_calls(channel: Any) -> Dict[str, Any]:
    """A callable for each method, of a blocking or an asyncio channel."""
    calls = {}
    for name, (request, response) in METHODS.items():
        make = channel.unary_stream if name == "Generate" else channel.unary_unary
        calls[name] = make(_SERVICE + name, request_serializer=request.SerializeToString, response_deserializer=response.FromString)
    return calls
