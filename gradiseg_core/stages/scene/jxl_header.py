"""What a JPEG XL codestream says of its pixels before they are decoded: bits and colours.

The decoder (imagecodecs) gives the values and neither of both. Source: ISO/IEC 18181-1, annexes D
(bundles, `U32`, `Enum`) and E (colour encoding); names of fields are libjxl's.
"""

from __future__ import annotations

from dataclasses import dataclass

_CODESTREAM = b"\xff\x0a"
_RGB, _GREY, _XYB = 0, 1, 2  # ColourSpace
_SRGB_PRIMARIES, _CUSTOM_PRIMARIES, _D65, _CUSTOM_WHITE = 1, 2, 1, 2
_P3 = 11  # as in H.273, for the white points of cinemas and of D65
_ALPHA, _SPOT, _CFA = 0, 2, 5  # ExtraChannelType
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))


@dataclass(frozen=True)
class JxlHeader:
    """The head of a file.

    Attributes:
        bits: Of a colour value; 16 or 32 where they are floats.
        floats: Whether they are floats.
        animated: Whether there are several pictures.
        primaries: As in H.273 (P3 with the white of D65 is 12); None where they are others.
        transfer: Likewise; None where it is none of H.273.
    """

    bits: int = 8
    floats: bool = False
    animated: bool = False
    primaries: int | None = 1
    transfer: int | None = 13

    @property
    def is_srgb(self) -> bool:
        """Whether colours are those of sRGB, or of video with the same primaries."""
        return self.primaries == 1 and self.transfer in (1, 13)


def read_header(codestream: bytes) -> JxlHeader:
    """Return what a codestream's head says.

    Args:
        codestream: It begins with FF 0A.

    Raises:
        ValueError: If it is none, or ends too early.
    """
    if not codestream.startswith(_CODESTREAM):
        raise ValueError("no JPEG XL codestream")
    bits = _Bits(codestream[2:4096])
    _size(bits)
    if bits.flag():  # ImageMetadata.all_default
        return JxlHeader()
    animated = bits.flag() and _extra_fields(bits)
    floats, depth = _bit_depth(bits)
    bits.flag()  # modular_16bit_buffers
    for _ in range(bits.u32((0, 0), (0, 1), (4, 2), (12, 1))):
        _extra_channel(bits)
    xyb = bits.flag()
    primaries, transfer = _colours(bits, xyb)
    return JxlHeader(depth, floats, animated, primaries, transfer)


class _Bits:
    """Bits of a stream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the JPEG XL header is cut")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        return bool(self.read(1))

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read a number: two bits choose how many bits follow, and what is added to them."""
        count, offset = choices[self.read(2)]
        return self.read(count) + offset

    def enum(self) -> int:
        return self.u32(*_ENUM)


def _size(bits: _Bits) -> None:
    def side() -> None:
        if small:
            bits.read(5)
        else:
            bits.u32((9, 1), (13, 1), (18, 1), (30, 1))

    small = bits.flag()
    side()
    if bits.read(3) == 0:  # else the width follows from the height
        side()


def _extra_fields(bits: _Bits) -> bool:
    """Skip orientation, sizes and preview; return whether the file is an animation."""
    bits.read(3)
    if bits.flag():
        _size(bits)
    if bits.flag():
        _preview(bits)
    if not bits.flag():
        return False
    bits.u32((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.u32((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.u32((0, 0), (3, 0), (16, 0), (32, 0))
    bits.flag()
    return True


def _preview(bits: _Bits) -> None:
    eighths = bits.flag()
    sides = (
        ((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
    )
    bits.u32(*sides)
    if bits.read(3) == 0:
        bits.u32(*sides)


def _bit_depth(bits: _Bits) -> tuple[bool, int]:
    if bits.flag():
        depth = bits.u32((0, 32), (0, 16), (0, 24), (6, 1))
        bits.read(4)  # bits of the exponent
        return True, depth
    return False, bits.u32((0, 8), (0, 10), (0, 12), (6, 1))


def _extra_channel(bits: _Bits) -> None:
    if bits.flag():
        return
    kind = bits.enum()
    _bit_depth(bits)
    bits.u32((0, 0), (0, 3), (0, 4), (3, 1))
    bits.read(8 * bits.u32((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == _ALPHA:
        bits.flag()
    elif kind == _SPOT:
        bits.read(64)
    elif kind == _CFA:
        bits.u32((0, 1), (2, 0), (4, 3), (8, 19))


def _colours(bits: _Bits, xyb: bool) -> tuple[int | None, int | None]:
    """Return primaries and transfer function of the decoded pixels."""
    if bits.flag():  # all_default
        return 1, 13
    profile, space = bits.flag(), bits.enum()
    if profile:
        # Of XYB, which is no colour space of a picture, libjxl makes sRGB by itself.
        return (1, 13) if xyb else (None, None)
    white: int | None = _D65
    if space != _XYB:
        white = bits.enum()
        if white == _CUSTOM_WHITE:
            _point(bits)
    primaries = _SRGB_PRIMARIES
    if space not in (_XYB, _GREY):
        primaries = bits.enum()
        if primaries == _CUSTOM_PRIMARIES:
            for _ in range(3):
                _point(bits)
    transfer = None
    if bits.flag():
        bits.read(24)  # a gamma
    else:
        transfer = bits.enum()
    if white != _D65 or primaries == _CUSTOM_PRIMARIES:
        return None, transfer
    return (12 if primaries == _P3 else primaries), transfer


def _point(bits: _Bits) -> None:
    for _ in range(2):
        bits.u32((19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21))
