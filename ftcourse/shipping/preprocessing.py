"""What a photo goes through before the network, written down so that any program can do the same.

`preprocessor_config.json` has the names of Hugging Face's image processors (`size`, `crop_size`, `resample`,
`rescale_factor`, `image_mean`, `image_std`) for the last steps, and under `ftcourse` those before, which such a
processor does not have. `use_model.py` follows it with Pillow, NumPy and onnxruntime alone: it is written beside
an ONNX file, and an export is checked with it.
Source: https://huggingface.co/docs/transformers/main_classes/image_processor
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ftcourse.data.deep_greys import BITS
from ftcourse.data.photos import MOST_RATIO
from ftcourse.shipping import use_model
from ftcourse.shipping.inference import reading_of
from ftcourse.training.checkpoints import write_atomic

__all__ = ["CONFIG", "EXAMPLE", "config_of", "generated_photos", "write_beside"]

CONFIG = "preprocessor_config.json"
EXAMPLE = "use_model.py"
RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
STEPS = (
    "decode; a JPEG at 1/2, 1/4 or 1/8 where its short side stays at least twice working_size (Pillow: draft)",
    "turn upright by the EXIF orientation",
    "of a strip more than most_ratio times as long as wide, take the middle",
    "greys of more than 8 bits: multiply by 255 / (2**bits - 1); bits is grey_bits, or the fewest of depths that "
    "hold the photo's brightest value where these are more",
    "lay transparency on white, convert to RGB",
    "where the short side is longer than working_size: average blocks of n x n pixels, n = short side // "
    "(3 * working_size) if that is over 1, then shrink the short side to working_size with working_resample",
    "resize the short side to size.shortest_edge with resample, the long side rounded down",
    "crop the centre of crop_size",
    "multiply by rescale_factor, subtract image_mean, divide by image_std, each by channel; order of the axes: "
    "channel, row, column",
)


def config_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of `preprocessor_config.json` for a model with this header (see `save_model`).

    All filters are antialiased, as Pillow's are. `resample` has Pillow's numbers: 2 bilinear, 3 bicubic.
    """
    transform: Any
    transform, side = reading_of(meta)
    size = {"height": transform.crop_size[0], "width": transform.crop_size[0]}
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": transform.resize_size[0]},
        "resample": int(RESAMPLE[transform.interpolation.value]),
        "do_center_crop": True,
        "crop_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(transform.mean),
        "image_std": list(transform.std),
        "data_format": "channels_first",
        "ftcourse": {
            "exif_orientation": True,
            "channels": "RGB",
            "background": "white",
            "antialias": True,
            "most_ratio": MOST_RATIO,
            "working_size": side,
            "working_resample": int(Image.Resampling.BICUBIC),
            "grey_bits": int(meta.get("grey_bits", 0)),
            "depths": list(BITS),
            "steps": list(STEPS),
        },
    }


def write_beside(file: Path, config: Mapping[str, Any], own: Path, example: bool = True) -> None:
    """Write `preprocessor_config.json`, and `use_model.py` with `example`, into the folder of an exported file.

    Args:
        own: the run's folder, whose own description may be replaced.

    Raises:
        ValueError: another model's description lies there.
    """
    path, text = file.with_name(CONFIG), json.dumps(config, indent=1).encode()
    if path.exists() and path.read_bytes() != text and path.parent.resolve() != own.resolve():
        raise ValueError(
            f"{path}: describes a model that takes photos otherwise; export into another folder"
        )
    write_atomic(path, text)
    if example:
        shutil.copyfile(use_model.__file__, file.with_name(EXAMPLE))


def generated_photos(folder: Path) -> list[Path]:
    """Photos that a reader could get wrong, drawn into a folder: large, turned by EXIF, transparent, 12 bits."""
    y, x = np.mgrid[0:900, 0:1200]
    waves = np.sin(x / 37 + y / 53)[..., None] * (90, 60, 40) + 60 * np.sin(x * y / 9e4)[..., None]
    photo = Image.fromarray(np.clip(128 + waves, 0, 255).astype(np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # the orientation: a quarter to the right
    small = photo.crop((200, 100, 500, 320))
    clear = small.copy()
    clear.putalpha(small.convert("L"))
    grey = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 16)  # 12 bits
    files = [
        folder / name for name in ("large.jpg", "turned.jpg", "clear.png", "grey.png", "thin.png")
    ]
    photo.save(files[0], quality=90)
    small.save(files[1], quality=90, exif=turned)
    clear.save(files[2])
    grey.save(files[3])
    photo.resize((700, 20)).save(files[4])
    return files
