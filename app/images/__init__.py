"""Pictures and mask PNGs: headers, proofs, pixels, and back. The only home of Pillow.

In: bytes of a file, or a way to read them. Out: sizes, packed rows, new bytes. Never: paths, frames, geometry.
Spec: PNG (third edition), EXIF orientation; mask rule of the Open Images reference 3.9.
Start with `sizes.py` (what a picture measures) and `png.py` (masks); `pictures.py` makes what a browser shows.
"""

from app.images.pictures import (
    MIME_TYPES,
    compress_picture,
    encode_picture,
    make_picture,
    make_preview,
    upright_picture,
)
from app.images.png import (
    BadPNG,
    DecodedMask,
    PNGHeader,
    ProvenMask,
    check_png,
    decode_mask,
    encode_mask,
    encode_mask_grey,
    prove_mask,
    read_png_header,
)
from app.images.proofs import ProofJob, prove_stretch
from app.images.sizes import (
    MAX_PICTURE_PIXELS,
    BadPicture,
    PictureSize,
    PictureTooBig,
    ReadAt,
    measure_picture,
    read_size,
)

__all__ = [
    "MAX_PICTURE_PIXELS",
    "MIME_TYPES",
    "BadPNG",
    "BadPicture",
    "DecodedMask",
    "PNGHeader",
    "PictureSize",
    "PictureTooBig",
    "ProofJob",
    "ProvenMask",
    "ReadAt",
    "check_png",
    "compress_picture",
    "decode_mask",
    "encode_mask",
    "encode_mask_grey",
    "encode_picture",
    "make_picture",
    "make_preview",
    "measure_picture",
    "prove_mask",
    "prove_stretch",
    "read_png_header",
    "read_size",
    "upright_picture",
]
