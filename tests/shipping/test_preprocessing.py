"""From a photo's file to probabilities without this package: the same numbers, whatever the photo."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ftcourse as ft
from ftcourse.shipping import export as exporting
from ftcourse.shipping import preprocessing
from ftcourse.shipping.export import export
from ftcourse.shipping.inference import load_run, predict_files
from ftcourse.shipping.preprocessing import CONFIG, EXAMPLE, config_of, generated_photos
from ftcourse.shipping.use_model import pixels_of
from tests.shapes import photos, run

HYMENOPTERA = Path(__file__).parents[3] / "shared" / "data" / "hymenoptera.zip"
NAMES = ["large", "turned", "clear", "grey", "thin"]
ALONE = (
    "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
    "found = {'torch', 'torchvision', 'ftcourse'} & set(sys.modules); assert not found, found"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return generated_photos(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def pocket(tmp_path_factory):
    """The pocket network itself as a run, with its 200 classes, exported as ONNX."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder, weights = tmp_path_factory.mktemp("pocket"), ft.ResNet18_Pocket_Weights.DEFAULT
    ft.save_model(
        ft.load_backbone("resnet18"), folder / "model.safetensors", architecture="resnet18",
        classes=[str(i) for i in range(len(weights.meta["categories"]))], crop_size=128,
        working_size=160, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3],
    )  # fmt: skip
    export(folder, "onnx")
    return folder


def largest_difference(folder, files) -> float:
    """Between `ftcourse predict` and use_model.py in a process of its own."""
    words = [str(folder / EXAMPLE), str(folder / "model.onnx"), *map(str, files)]
    done = subprocess.run([sys.executable, "-c", ALONE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone = [json.loads(line)["probabilities"] for line in done.stdout.splitlines()]
    ours = list(predict_files(load_run(folder), files, top=1000))
    assert len(alone) == len(ours) == len(files) > 0
    return max(
        abs(probabilities[one["class"]] - one["probability"])
        for probabilities, answer in zip(alone, ours, strict=True)
        for one in answer["top"]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [48, 128, 224])
def test_a_photo_read_by_pillow_and_numpy_is_what_the_network_takes_up_to_rounding(
    tmp_path, drawn, size, name
):
    meta = {"architecture": "resnet18", "classes": ["a", "b"], "crop_size": size, "grey_bits": 12}
    meta |= {"mean": [0.5] * 3, "std": [1.0] * 3}
    file = next(f for f in drawn if f.stem == name)
    transform, side = preprocessing.reading_of(meta)
    classifier = exporting.Classifier(torch.nn.Identity(), ["a"], transform, size, side, meta)
    theirs, ours = pixels_of(str(file), config_of(meta)), classifier.input_of(file).numpy()
    assert theirs.shape == ours.shape == (3, size, size) and theirs.dtype == np.float32
    assert np.abs(theirs - ours).max() * 255 <= 2.01
    assert ours.std() > 0.05  # a picture, not a plain ground


def test_the_example_beside_a_model_gives_the_probabilities_of_predict_by_itself(pocket, drawn):
    assert largest_difference(pocket, drawn) <= 0.01


@pytest.mark.skipif(not HYMENOPTERA.exists(), reason="../shared/data/hymenoptera.zip is absent")
def test_the_example_does_so_on_a_hundred_real_photos(pocket, tmp_path):
    with zipfile.ZipFile(HYMENOPTERA) as packed:
        names = [name for name in packed.namelist() if name.endswith(".jpg")][::3][:100]
        files = [Path(packed.extract(name, tmp_path)) for name in names]
    assert len(files) == 100 and largest_difference(pocket, files) <= 0.01


def test_the_description_lies_in_each_file_and_beside_it(pocket, run, tmp_path):
    import onnxruntime

    beside = json.loads((pocket / CONFIG).read_text())
    session = onnxruntime.InferenceSession(str(pocket / "model.onnx"))
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["preprocessor_config"]) == beside
    assert beside["size"] == {"shortest_edge": 146} and beside["resample"] == 2
    assert beside["crop_size"] == {"height": 128, "width": 128}
    assert beside["image_mean"] == [0.5, 0.4, 0.3] and beside["image_std"] == [0.2, 0.25, 0.3]
    assert beside["ftcourse"]["working_size"] == 160 and beside["ftcourse"]["exif_orientation"]
    done = export(run, "safetensors", tmp_path)
    assert load_run(done.path).meta["preprocessor_config"] == json.loads(
        (tmp_path / CONFIG).read_text()
    )


def test_a_finished_run_describes_itself(run):
    meta = load_run(run).meta
    assert meta["preprocessor_config"] == json.loads((run / CONFIG).read_text()) == config_of(meta)


def test_the_int8_model_has_the_description_and_the_example(run, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from ftcourse.shipping.quantize import quantize

    file = quantize(run, tmp_path).path
    meta = {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}
    assert json.loads(meta["preprocessor_config"]) == json.loads((tmp_path / CONFIG).read_text())
    assert (tmp_path / EXAMPLE).exists()


@pytest.mark.parametrize(
    "wrong", [{"resample": 3}, {"image_mean": [0.4, 0.4, 0.4]}, {"size": {"shortest_edge": 128}}]
)
def test_an_export_whose_description_is_wrong_is_not_kept(pocket, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(exporting, "config_of", lambda meta: config_of(meta) | wrong)
    with pytest.raises(ValueError, match=r"\.(jpg|png): read as preprocessor_config"):
        export(pocket, "safetensors", tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_models_description_is_not_written_over(pocket, run, tmp_path):
    export(run, "safetensors", tmp_path)
    before = (tmp_path / CONFIG).read_bytes()
    with pytest.raises(ValueError, match="export into another folder"):
        export(pocket, "safetensors", tmp_path / "other.safetensors")
    assert (tmp_path / CONFIG).read_bytes() == before
    assert not (tmp_path / "other.safetensors").exists()


@pytest.mark.parametrize("values", [np.float32([[0.5, 2.0]]), np.int32([[-3, 5]])])
def test_greys_without_a_usual_scale_are_refused_rather_than_read_wrongly(tmp_path, values):
    Image.fromarray(np.kron(values, np.ones((9, 9), values.dtype))).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=r"deep\.tif: greys"):
        pixels_of(str(tmp_path / "deep.tif"), config_of({"crop_size": 32}))
