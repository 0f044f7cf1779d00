"""Classify photos with an exported model: python use_model.py model.onnx photo.jpg (Pillow, onnxruntime)"""

import json
import sys

import numpy as np
from PIL import Image, ImageOps


def pixels_of(path: str, config: dict) -> np.ndarray:
    """A photo as the network takes it, float32 (3, size, size), by the steps of preprocessor_config.json."""
    image: Image.Image = Image.open(path)
    ours = config["ftcourse"]
    side = ours["working_size"]
    if image.format in ("JPEG", "MPO"):  # decoded at a half, ..., down to a short side of 2 * side
        scale = 2 * side / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))
    image = ImageOps.exif_transpose(image)
    (width, height), most = image.size, ours["most_ratio"] * min(image.size)
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    image = image.crop((left, top, left + min(width, most), top + min(height, most)))
    if image.mode.startswith("I"):  # greys of more than 8 bits
        grey = np.asarray(image).astype(np.float32)
        if grey.min() < 0:
            raise ValueError(f"{path}: greys below zero, which have no usual black")
        bits = next(b for b in ours["depths"] if b >= ours["grey_bits"] and grey.max() < 2**b)
        image = Image.fromarray(np.rint(grey * (255 / (2.0**bits - 1))).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError(f"{path}: greys that are floats, which have no usual white")
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image, short = image.convert("RGB"), min(image.size)
    if short > side:  # first to the size that the photos of the training were kept at
        size = [max(1, round(n * (side / short))) for n in image.size]
        image = image.reduce(max(1, short // (3 * side))).resize(size, ours["working_resample"])
    short, edge = min(image.size), config["size"]["shortest_edge"]
    crop = config["crop_size"]["height"]
    image = image.resize([int(edge * n / short) for n in image.size], config["resample"])
    left, top = (round((n - crop) / 2) for n in image.size)
    rgb = np.asarray(image.crop((left, top, left + crop, top + crop)), np.float32)
    rgb = (rgb * config["rescale_factor"] - config["image_mean"]) / config["image_std"]
    return rgb.transpose(2, 0, 1).astype(np.float32)


def probabilities_of(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax over the classes, of the logits divided by the temperature that validation gave."""
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    return powers / powers.sum(-1, keepdims=True)


if __name__ == "__main__":
    import onnxruntime

    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    classes, config = json.loads(meta["classes"]), json.loads(meta["preprocessor_config"])
    for path in sys.argv[2:]:
        (logits,) = session.run(["logits"], {"images": pixels_of(path, config)[None]})
        row = probabilities_of(logits[0], json.loads(meta["temperature"])).round(6).tolist()
        answer = dict(zip(classes, row, strict=True))
        print(json.dumps({"file": path, "probabilities": answer}))
