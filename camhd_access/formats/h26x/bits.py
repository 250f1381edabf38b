"""Numbers of a NAL unit, bit by bit: fixed length, and Exp-Golomb codes (ITU-T H.264, 9.1)."""

__all__ = ["BitReader", "unescape"]

MAX_PREFIX_BITS = 32


def unescape(nal: bytes) -> bytes:
    """The payload of a NAL unit, without the bytes that keep start codes out of it (H.264, 7.4.1)."""
    return nal.replace(b"\0\0\3", b"\0\0")


class BitReader:
    """Reads numbers from the front of a payload.

    Raises
    ------
    EOFError
        The payload ends within a number.
    """

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "big")
        self._n_left = 8 * len(data)

    def u(self, n_bits: int) -> int:
        """A number of this many bits."""
        if n_bits > self._n_left:
            raise EOFError("the payload ends within a number")
        self._n_left -= n_bits
        return self._number >> self._n_left & ((1 << n_bits) - 1)

    def flag(self) -> bool:
        """One bit."""
        return bool(self.u(1))

    def ue(self) -> int:
        """An unsigned Exp-Golomb code."""
        n_zeros = 0
        while not self.u(1):
            n_zeros += 1
            if n_zeros > MAX_PREFIX_BITS:
                raise EOFError("no Exp-Golomb code")
        return (1 << n_zeros) - 1 + self.u(n_zeros)

    def se(self) -> int:
        """A signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def skip_ue(self, n_codes: int) -> None:
        """Skip Exp-Golomb codes."""
        for _ in range(n_codes):
            self.ue()
