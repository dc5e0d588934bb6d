"""EXIF data about camera and exposure, which stay in photographs that are written anew."""

from __future__ import annotations

import logging

from PIL import ExifTags, Image

logger = logging.getLogger(__name__)

_ABOUT_CAMERA = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
)


def exif_of_camera(image: Image.Image) -> bytes:
    """Return the EXIF tags about camera and exposure, to keep them in a file that is rewritten.

    Structure from motion reads the focal length from them. Left out are the orientation, tags about
    the file itself, and tags that cannot be written.
    """
    try:
        tags = image.getexif()
        kept = Image.Exif()
        for tag in _ABOUT_CAMERA:
            if tag in tags and _writable({tag: tags[tag]}):
                kept[tag] = tags[tag]
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            inner = tags.get_ifd(ifd)
            kept[ifd] = {tag: value for tag, value in inner.items() if _writable({tag: value})}
            if not kept[ifd]:
                del kept[ifd]
        return kept.tobytes() if len(kept) else b""
    except Exception as error:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        logger.debug("EXIF data cannot be read: %s", error)
        return b""


def _writable(tags: dict) -> bool:
    exif = Image.Exif()
    exif.update(tags)
    try:
        exif.tobytes()
    except Exception:  # struct.error, TypeError, ... by the kind of the value
        return False
    return True
