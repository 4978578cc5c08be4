"""The state of one connection: made when it begins, dropped when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.live.wire.protocol import State

if TYPE_CHECKING:
    from dbnfast.errors import GatewayError, LiveError
    from dbnfast.live.wire.protocol import LiveProtocol
    from dbnfast.live.wire.requests import Subscription

AUTH_TIMEOUT: Final = 30.0  # s from the connection to the gateway's reply
MARGIN: Final = 10.0  # s of silence beyond the interval of heartbeats
STEADY: Final = 30.0  # s of a connection that was good, whatever it brought


class Link:
    """
    One connection, as its session sees it. All times are seconds of the pump's clock.

    Parameters
    ----------
    protocol : LiveProtocol
        What is said over it.
    now : float
        The time.
    interval : float
        Seconds between heartbeats.

    Attributes
    ----------
    deadline : float or None
        When somebody has to look at the time, should nothing come before.
    last_byte : float
        When anything came.
    began_at : float or None
        When it was told to begin.
    fresh : bool
        Whether no market data came over it yet.
    asked : tuple of Subscription
        What it was asked for before it began.
    refusal : GatewayError or None
        The error record that ends it, unless something follows.
    failure : LiveError or None
        How the connection ended that is still read from.
    """

    def __init__(self, protocol: LiveProtocol, now: float, interval: float) -> None:
        self.protocol = protocol
        self.last_byte = now
        self.deadline: float | None = now + AUTH_TIMEOUT
        self.began_at: float | None = None
        self.fresh = True
        self.asked: tuple[Subscription, ...] = ()
        self.refusal: GatewayError | None = None
        self.failure: LiveError | None = None
        self._made_at = now
        self._interval = interval

    @property
    def authenticated(self) -> bool:
        """Whether the gateway let this side in."""
        return self.protocol.state in (State.READY, State.STARTED)

    def begin(self, now: float) -> None:
        """
        Have the records begin.

        Parameters
        ----------
        now : float
            The time.
        """
        self.protocol.start()
        self.last_byte = self.began_at = now
        self.deadline = self.silent_at

    @property
    def silent_at(self) -> float:
        """When silence has lasted too long; never before records were asked for."""
        protocol = self.protocol
        if protocol.more or protocol.state is State.READY:
            return float("inf")
        if protocol.state is State.STARTED:
            return self.last_byte + self._interval + MARGIN
        return self._made_at + AUTH_TIMEOUT

    def steady(self, now: float) -> bool:
        """
        Tell whether the connection as such was good.

        Parameters
        ----------
        now : float
            The time.

        Returns
        -------
        bool
        """
        return not self.fresh or now - self._made_at > STEADY

    def good(self, now: float) -> bool:
        """
        Tell whether what it was asked for was no reason for its end.

        Parameters
        ----------
        now : float
            The time.

        Returns
        -------
        bool
            True where it brought market data, or went on without.
        """
        lasted = self.began_at is not None and now - self.began_at > STEADY
        return not self.fresh or lasted
