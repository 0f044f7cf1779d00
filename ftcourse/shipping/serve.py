"""A page to drop a photo on, served on this machine alone.

Source: https://www.gradio.app/docs/gradio/interface
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftcourse.shipping.inference import Classifier, predict_files

__all__ = ["answer_with", "page", "serve"]

SHOWN = 5  # classes


def answer_with(classifier: Classifier) -> Callable[[str | None], dict[str, float]]:
    """A function from a photo's file to the probability of each class; nothing for no file.

    It reads the file as `ftcourse predict` does: the page hands over the file itself, not a picture decoded by it.

    Raises (the function):
        ValueError: the file is no photo.
    """

    def answer(file: str | None) -> dict[str, float]:
        if not file:
            return {}
        (found,) = predict_files(classifier, [Path(file)], top=len(classifier.classes))
        if "error" in found:
            raise ValueError(found["error"].replace(str(file), Path(file).name))
        return {one["class"]: one["probability"] for one in found["top"]}

    return answer


def page(classifier: Classifier) -> Any:
    """The page as a `gradio.Interface`, not yet served; its API is `/predict`.

    Raises:
        ImportError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError('serve needs gradio: pip install "ftcourse[demo]"')
    import gradio

    answer = answer_with(classifier)

    def told(file: str | None) -> dict[str, float]:
        try:
            return answer(file)
        except ValueError as err:  # the page shows an error of this kind as it is
            raise gradio.Error(str(err)) from err

    return gradio.Interface(
        told,
        gradio.Image(type="filepath", image_mode=None, label="A photo"),  # None: the file as it is
        gradio.Label(num_top_classes=min(SHOWN, len(classifier.classes)), label="What it is"),
        title=f"{classifier.meta.get('architecture', 'A network')} for {len(classifier.classes)} classes",
        flagging_mode="never",
        api_name="predict",
    )


def serve(classifier: Classifier, port: int | None = None) -> None:
    """Serve the page on loopback until Ctrl-C; without a port, on the first free one from 7860.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is taken.
    """
    page(classifier).launch(server_name="127.0.0.1", server_port=port, share=False, show_error=True)
