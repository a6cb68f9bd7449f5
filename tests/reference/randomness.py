"""The generator of the kernels in whole numbers: splitmix64 (Steele et al., 2014)."""

from __future__ import annotations

_ALL = 2**64 - 1


class SplitMix:
    """A stream of random numbers.

    Parameters
    ----------
    state : int
    """

    def __init__(self, state: int) -> None:
        self.state = state

    def whole(self) -> int:
        """64 random bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _ALL
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL
        return z ^ (z >> 31)

    def real(self) -> float:
        """A number in [0, 1), of its highest 53 bits."""
        return (self.whole() >> 11) / 2**53

    def below(self, limit: int) -> int:
        """A whole number below a limit."""
        return int(self.real() * limit)
