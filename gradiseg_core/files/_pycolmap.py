"""The one place where pycolmap is imported: after Pillow's codecs and Python's zlib.

With pycolmap 4.2 and Pillow from their wheels on Linux, a process that imports pycolmap *first*
aborts ("free(): invalid pointer") or hangs at its next PNG or compressed npz: each wheel brings a
zlib of its own, and the one loaded first answers some calls of the other. Loading Pillow's codecs
and `zlib` first binds them to their own. Whoever uses pycolmap beside this package does the same::

    import zlib
    from PIL import Image

    Image.init()
    from gradiseg_core.files._pycolmap import pycolmap

All modules write `from gradiseg_core.files._pycolmap import pycolmap`, inside the function that
needs it (it takes a second); tests/stages/sfm/test_import_order.py checks that none imports it
otherwise.
"""

import zlib  # noqa: F401  (see above: before pycolmap)

from PIL import Image

Image.init()

import pycolmap  # noqa: E402

__all__ = ["pycolmap"]
