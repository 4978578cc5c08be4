"""
A gateway: DBN files replayed over the protocol of live sessions.

`Gateway` listens on a socket; `dbnfast.gateway.session` is the same without one.
"""

from dbnfast.gateway.faults import (
    Cut,
    Delay,
    DoubleAck,
    Eof,
    FailAuth,
    Faults,
    NoAck,
    OneByteWrites,
    Refuse,
    Reset,
    SendError,
    Silence,
)
from dbnfast.gateway.server import Gateway
from dbnfast.gateway.service import Service
from dbnfast.gateway.session import GatewaySession

__all__ = [
    "Cut",
    "Delay",
    "DoubleAck",
    "Eof",
    "FailAuth",
    "Faults",
    "Gateway",
    "GatewaySession",
    "NoAck",
    "OneByteWrites",
    "Refuse",
    "Reset",
    "SendError",
    "Service",
    "Silence",
]
