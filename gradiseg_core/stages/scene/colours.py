"""Colours of photographs: ICC profiles and wide primaries to sRGB; which pixels are transparent.

Screens, metrics and other programs take what is written for sRGB. Phones write Display P3, cameras
Adobe RGB, scanners and printers grey and CMYK profiles; the pixels are converted by LittleCMS, by
relative colorimetry with black point compensation.
"""

from __future__ import annotations

import io
import logging
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gradiseg_core.files.images import depth_of, eight_bit_rgb
from gradiseg_core.stages.scene.formats import nclx_of
from gradiseg_core.stages.scene.hdr import HLG, PQ, WIDE, hdr_to_srgb, wide_to_srgb

logger = logging.getLogger(__name__)

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_HEAD = 65_536  # bytes in which an AVIF file describes itself
_SAME = 3  # of 255: profiles that differ less from sRGB are sRGB, written by another program
_OPAQUE = 250  # of 255: below this alpha, what lies behind a pixel shows
#: Colour space of a profile (ICC.1, 7.2.6) -> modes of the pictures that it can describe.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def in_srgb(file: Image.Image, white: float | None = None) -> Image.Image:
    """Return a photograph in 8-bit sRGB, what is transparent in white.

    Args:
        file: Of any mode.
        white: Brightest value of a deep photograph; None goes by its own values.

    Raises:
        ValueError: If its values fit no usual range.
    """
    transfer = hdr_transfer(file)
    if transfer is not None:
        return Image.fromarray(hdr_to_srgb(257 * np.asarray(file, dtype=np.uint16), transfer))
    profile = foreign_profile(file)
    if profile is None:
        plain = eight_bit_rgb(file, white)
        primaries = wide_primaries(file)
        if primaries is None:
            return plain
        return Image.fromarray(wide_to_srgb(np.asarray(plain), primaries))
    alpha = None
    base: Image.Image = file
    if depth_of(file) is not None:
        base = eight_bit_rgb(file, white).convert("L")
    elif has_alpha(file):
        full = file.convert("RGBA")
        alpha, base = full.getchannel("A"), full.convert("RGB")
    elif file.mode not in _MODES.values():
        base = file.convert("L" if file.mode == "1" else "RGB")
    space = _space(profile)
    if base.mode == "L" and space == "RGB":
        base = base.convert("RGB")
    elif base.mode == "RGB" and space == "GRAY":
        base = base.convert("L")
    if base.mode != _MODES[space]:
        logger.debug("a profile for %s does not fit pixels in %s", space, base.mode)
        return eight_bit_rgb(file, white)
    converted = _apply(profile, base)
    if alpha is not None:
        converted.paste("white", mask=alpha.point(lambda value: 255 - value))
    return converted


def hdr_transfer(file: Image.Image) -> int | None:
    """Return the transfer function of an HDR photograph (HEIF, as cameras write it); else None."""
    tagged = _nclx(file).get("transfer_characteristics")
    return int(tagged) if tagged in (PQ, HLG) and file.mode == "RGB" else None


def wide_primaries(file: Image.Image) -> int | None:
    """Return the primaries of a photograph that has wider ones by number alone; else None."""
    tagged = _nclx(file).get("color_primaries")
    return int(tagged) if tagged in WIDE and not file.info.get("icc_profile") else None


def _nclx(file: Image.Image) -> dict[str, int]:
    """Return what an AVIF or HEIC photograph says of its colours by numbers; empty if nothing."""
    if "nclx_profile" not in file.info and file.format == "AVIF":  # Pillow does not read it
        with open(file.filename, "rb") as start:  # type: ignore[attr-defined]
            file.info["nclx_profile"] = nclx_of(start.read(_HEAD))
    return file.info.get("nclx_profile") or {}


def foreign_profile(file: Image.Image) -> bytes | None:
    """Return a photograph's ICC profile; None if it has none, sRGB, or one that is not readable."""
    profile = file.info.get("icc_profile")
    return profile if profile and _differs(profile) else None


def has_alpha(file: Image.Image) -> bool:
    """Whether a photograph's pixels can be transparent."""
    return file.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in file.info


def transparent(file: Image.Image) -> NDArray[np.bool_] | None:
    """Return where [H, W] something behind a photograph shows through; None if nowhere."""
    if not has_alpha(file):
        return None
    full = file.convert("LA") if file.mode == "La" else file
    alpha = np.asarray(full.convert("RGBA").getchannel("A"))
    found: NDArray[np.bool_] = alpha < _OPAQUE
    return found if found.any() else None


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _space(profile: bytes) -> str:
    return _open(profile).profile.xcolor_space.strip()


def _apply(profile: bytes, image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        _open(profile), ImageCms.createProfile("sRGB"), image.mode, "RGB", _INTENT, _FLAGS
    )
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only in place it returns None
    return converted


@lru_cache(maxsize=64)
def _differs(profile: bytes) -> bool:
    """Whether a profile changes colours when it is converted to sRGB."""
    try:
        space = _space(profile)
        if space not in _MODES:
            raise ImageCms.PyCMSError(f"the colour space {space}")
        if space not in ("RGB", "GRAY"):
            _apply(profile, Image.new(_MODES[space], (1, 1)))
            return True
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        if space == "GRAY":
            probe, same = levels[None], np.repeat(levels[None, :, None], 3, axis=-1)
        else:
            grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
            probe = same = grid.reshape(len(levels), -1, 3)
        converted = np.asarray(_apply(profile, Image.fromarray(probe))).astype(int)
        return bool(np.abs(converted - same).max() > _SAME)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        logger.warning("a colour profile cannot be used and is passed over: %s", error)
        return False
