"""Greys of more than 8 bits are scaled in use as they were in training, in whatever folder they lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import ftcourse as ft
from ftcourse.reporting.report import train_and_report
from ftcourse.shipping.export import export
from ftcourse.shipping.inference import labelled, load_run
from ftcourse.widgets.predict import read_photo
from tests.shapes import QUICK

DIM = 900  # of 4095: alone it would be taken for one of ten bits


def grey(path, top, seed, coarse):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).random((40 // coarse, 40 // coarse))
    noise[0, 0] = 1
    values = np.kron(noise, np.ones((coarse, coarse))) * top
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on photos of twelve bits, and dim photos that are not among them."""
    root = tmp_path_factory.mktemp("deep")
    for k, name in enumerate(("coarse", "fine")):
        for i in range(8):
            grey(root / "photos" / name / f"{i}.png", 4095, 10 * k + i, (8, 2)[k])
            grey(root / "dim" / name / f"{i}.png", DIM, 100 + 10 * k + i, (8, 2)[k])
    train_and_report(root / "photos", root / "run", QUICK, progress=False)
    return root


def test_the_header_says_how_greys_were_scaled_and_a_photo_by_itself_is_scaled_so(run):
    classifier = load_run(run / "run")
    assert classifier.grey_bits == classifier.meta["grey_bits"] == 12
    file = run / "dim" / "coarse" / "0.png"
    found = classifier.input_of(file)
    as_trained = ft.load_data(run / "photos", size=32).train.with_transform(classifier.transform)
    assert as_trained.images.bits == 12
    white = (255 * DIM / 4095 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    assert found.amax((1, 2)).numpy() == pytest.approx(white, abs=0.1)


@pytest.mark.parametrize("split", ["all", "test"])
def test_a_folder_of_dim_photos_is_evaluated_as_it_would_be_predicted(run, split):
    classifier = load_run(run / "run")
    photos = labelled(classifier, run / "dim", split, "raise")
    for i, file in enumerate(photos.paths):
        assert (photos[i][0] == classifier.input_of(file)).all()
        photos.let_go(i)  # and read again
        assert (photos[i][0] == classifier.input_of(file)).all()


def test_the_steps_for_onnx_and_the_widget_scale_them_so(run):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export(run / "run", "onnx")
    meta = onnxruntime.InferenceSession(str(done.path)).get_modelmeta().custom_metadata_map
    assert json.loads(meta["grey_bits"]) == 12
    assert json.loads(meta["preprocessor_config"])["ftcourse"]["grey_bits"] == 12
    content = (run / "dim" / "fine" / "0.png").read_bytes()
    assert np.asarray(read_photo(content, grey_bits=12)).max() == round(255 * DIM / 4095)
    data = ft.load_data(run / "photos", size=32)
    from ftcourse.widgets.predict import PredictionExplorer

    model, _ = ft.load_model(run / "run" / "model.safetensors")
    assert PredictionExplorer(model, data, memory=False).grey_bits == 12
