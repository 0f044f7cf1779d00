"""What the widgets share: a live view with a still picture beside it, and one look in any notebook's theme.

Each widget is displayed as one output with several forms. A notebook with a kernel takes the live one; GitHub,
nbconvert and a notebook just opened take the still one, a table or a picture of the same content.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["Explorer", "Picture", "bar", "escape", "page", "png", "uploaded"]

VIEW = "application/vnd.jupyter.widget-view+json"

# Okabe and Ito's colours; the notebook's own variables where it has them, so that a dark theme stays dark.
STYLE = """
<style>
.ftc { --ftc-a:#0072B2; --ftc-b:#D55E00; --ftc-c:#009E73; --ftc-d:#CC79A7; --ftc-e:#E69F00;
  --ftc-ink:var(--jp-ui-font-color1,#1B1F24); --ftc-soft:var(--jp-ui-font-color2,#5F6670);
  --ftc-line:var(--jp-border-color2,#E3E6EA); --ftc-fill:var(--jp-layout-color2,#F2F4F7);
  font-family:var(--jp-ui-font-family,system-ui,sans-serif); font-size:14px; line-height:1.45;
  color:var(--ftc-ink); }
body[data-jp-theme-light="false"] .ftc { --ftc-a:#56B4E9; --ftc-b:#E69F00; --ftc-c:#2BBB94;
  --ftc-d:#CC79A7; --ftc-e:#F0E442; }
.ftc table { border-collapse:collapse; font-size:14px; margin:0; }
.ftc td, .ftc th { padding:5px 14px 5px 0; text-align:left; border:none; background:none; }
.ftc .num { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap; }
.ftc .soft { color:var(--ftc-soft); }
.ftc .big { font-size:20px; font-weight:600; font-variant-numeric:tabular-nums; }
.ftc code { font-size:13px; background:var(--ftc-fill); padding:3px 7px; border-radius:4px; }
.ftc .track { background:var(--ftc-fill); border-radius:5px; height:13px; width:100%;
  min-width:190px; display:flex; overflow:hidden; }
.ftc .track span { height:13px; display:block; transition:width .25s; }
.ftc h4 { margin:0 0 6px 0; font-size:16px; color:var(--ftc-ink); }
.ftc .key { display:inline-block; width:10px; height:10px; border-radius:2px; margin:0 5px 0 12px; }
</style>
"""


def escape(text: Any) -> str:
    """Text as HTML shows it."""
    return html.escape(str(text))


def page(body: str) -> str:
    """HTML for a live view, in the widgets' style."""
    return f'{STYLE}<div class="ftc">{body}</div>'


def bar(*parts: tuple[float, str], label: str = "") -> str:
    """A bar of parts, each a share of the whole (0 to 1) and a colour name, "a" to "e"."""
    spans = "".join(
        f'<span style="width:{100 * max(0.0, min(1.0, share)):.2f}%;background:var(--ftc-{colour})"></span>'
        for share, colour in parts
    )
    return f'<div class="track" role="img" aria-label="{escape(label)}">{spans}</div>'


def png(content: bytes) -> str:
    """The bytes of a PNG as a notebook stores them."""
    return base64.b64encode(content).decode()


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of what is in a FileUpload, as ipywidgets 7 or 8 gives it."""
    if isinstance(value, dict):  # 7: {name: {"metadata": ..., "content": bytes}}
        return [(str(name), bytes(entry["content"])) for name, entry in value.items()]
    return [
        (str(entry["name"]), bytes(entry["content"])) for entry in value
    ]  # 8: dicts, memoryviews


class Picture(ipywidgets.HTML):
    """A PNG with a text alternative, for which ipywidgets' Image has no place."""

    def __init__(self, width: str) -> None:
        super().__init__(layout=ipywidgets.Layout(width="100%", max_width=width, margin="0"))
        self.content = b""

    def draw(self, figure: Figure, alt: str, dpi: int = 90) -> None:
        """Show this figure, and close it."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
        plt.close(figure)
        self.show(buffer.getvalue(), alt)

    def show(self, content: bytes, alt: str = "") -> None:
        """Show this PNG; b"" shows nothing."""
        self.content = content
        source = f"data:image/png;base64,{png(content)}"
        self.value = (
            f'<img src="{source}" alt="{escape(alt)}" style="display:block;max-width:100%">'
            if content
            else ""
        )


class Explorer:
    """A widget of this package: `view` is the ipywidgets box; `still()` is what it is without a kernel."""

    view: ipywidgets.Widget
    alt: str = ""

    def still(self) -> dict[str, str]:
        """The same content by MIME type: "text/plain", and "text/html" or "image/png"."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **kwargs: Any) -> Any:
        model = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        data: dict[str, Any] = {**self.still(), VIEW: model}
        if (
            "google.colab" in sys.modules
        ):  # exactly what ipywidgets sends there: a picture could win over the view
            data = {"text/plain": data["text/plain"], VIEW: model}
        return data, {"image/png": {"alt": self.alt}} if "image/png" in data else {}

    def __repr__(self) -> str:
        return self.still()["text/plain"]
