"""The command line: `ftcourse --help`. It reads options, calls the package, prints; the logic is elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Optional

import typer
from typer.core import TyperGroup

__all__ = ["app"]

# What a user can put right: told in a sentence, exit code 2. FTCOURSE_DEBUG=1 shows the traceback.
USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)


class Commands(TyperGroup):
    """Tells errors in one sentence instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `ftcourse predict ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except USER_ERRORS as err:
            if os.environ.get("FTCOURSE_DEBUG"):
                raise
            typer.echo(f"ftcourse: {_in_options(err)}", err=True)
            raise typer.Exit(2) from err


def _in_options(err: BaseException) -> str:
    """The package's errors name arguments of Python; here they are options."""
    text = str(err) or type(err).__name__
    text = text.replace('pass groups="file"', "use --groups file").replace("groups=", "--groups ")
    return text.replace('pass on_error="skip"', "use --on-error skip")


app = typer.Typer(
    name="ftcourse",
    cls=Commands,
    help="Fine-tune a pre-trained ResNet on a folder of photos, without a network; and the lessons' tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Strategy(str, Enum):
    head = "head"
    layer4 = "layer4"
    full = "full"
    auto = "auto"


class OnError(str, Enum):
    stop = "raise"
    skip = "skip"


class ExportFormat(str, Enum):
    safetensors = "safetensors"
    onnx = "onnx"
    onnx_int8 = "onnx-int8"


class SplitName(str, Enum):
    test = "test"
    val = "val"
    train = "train"
    all = "all"


JSON = typer.Option(False, "--json", help="Print JSON to stdout, everything else to stderr.")
ON_ERROR = typer.Option(OnError.stop, help="What to do with a photo that cannot be decoded.")


@contextlib.contextmanager
def _only_json(as_json: bool) -> Iterator[None]:
    """With --json, stdout is for the JSON alone."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))


def _version(wanted: bool) -> None:
    if wanted:
        from ftcourse import __version__

        typer.echo(f"ftcourse {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


@app.command()
def doctor(as_json: bool = JSON) -> None:
    """Tell what this machine has, how long lessons take, and what is missing. Exit code 1 if they cannot run."""
    from ftcourse import doctor as examination

    with _only_json(as_json):
        found = examination.examine()
    _print_json(found) if as_json else typer.echo(examination.summary(found))
    raise typer.Exit(0 if found["ok"] else 1)


@app.command()
def audit(
    folder: Path = typer.Argument(..., metavar="DIR", help="A folder of photos in class folders."),
    as_json: bool = JSON,
) -> None:
    """Look for what could spoil a folder of photos: broken files, duplicates, leaks. Changes no file."""
    from ftcourse.data.audit import audit as audit_folder

    with _only_json(as_json):
        found = audit_folder(folder)
    _print_json(found.to_dict()) if as_json else typer.echo(found.summary())


@app.command()
def train(
    source: str = typer.Argument(
        ..., metavar="DIR", help="A folder of photos, or the name of a built-in set."
    ),
    out: Path = typer.Option(
        ..., "--out", metavar="RUN", help="Folder for the model and the report."
    ),
    strategy: Strategy = typer.Option(
        Strategy.auto, help="What trains: auto decides by the number of photos."
    ),
    epochs: int | None = typer.Option(None, min=1, help="Epochs in all; the recipe's by default."),
    seed: int = typer.Option(0, help="For the splits, the new head and the order of the photos."),
    weights: str = typer.Option(
        "pocket", help="pocket (in the package), none, DEFAULT (ImageNet), or a file."
    ),
    backbone: str = typer.Option("resnet18", help="A network of torchvision."),
    size: Optional[int] = typer.Option(None, min=16, help="Side of the input, in pixels."),  # noqa: UP045
    batch_size: int = typer.Option(32, min=2, help="Photos a step."),
    groups: str | None = typer.Option(
        None,
        help="What stays in one split (patient, camera, burst): parent, a regular expression with one group in "
        "parentheses, or TABLE.csv:COLUMN; file keeps not even near copies together.",
    ),
    on_error: OnError = ON_ERROR,
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    force: bool = typer.Option(
        False, "--force", help="Replace an earlier run; its files are moved to RUN/before-1."
    ),
    as_json: bool = JSON,
) -> None:
    """Fine-tune on a folder of photos; writes a model, a report and what is needed to resume."""
    from ftcourse.reporting.report import Interrupted, Settings, train_and_report
    from ftcourse.reporting.report_page import headline

    settings = Settings(
        strategy=strategy.value, epochs=epochs, seed=seed, weights=weights, backbone=backbone,
        size=size, batch_size=batch_size, on_error=on_error.value, groups=groups,
    )  # fmt: skip
    try:
        with _only_json(as_json):
            report = train_and_report(source, out, settings, resume=resume, force=force)
    except Interrupted as stop:
        typer.echo(f"ftcourse: {stop}", err=True)
        raise typer.Exit(130) from stop
    for note in report["data_notes"] + report["notes"]:
        typer.echo(f"note: {note}", err=as_json)
    typer.echo(f"{headline(report)}\n{out / 'report.md'} has the rest.", err=as_json)
    if as_json:
        _print_json(report)


@app.command()
def predict(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    files: list[str] = typer.Argument(..., metavar="FILES...", help="Photos, folders or globs."),
    top: int = typer.Option(3, min=1, help="How many classes to name."),
    as_json: bool = JSON,
) -> None:
    """Classify photos. A file that cannot be read is told and does not stop the others; exit code 1 then."""
    from ftcourse.shipping.inference import find_photos, load_run, predict_files

    with _only_json(as_json):
        photos = find_photos(files)
        if not photos:
            raise FileNotFoundError(f"{' '.join(files)}: no photos there")
        answers = []
        for answer in predict_files(load_run(run), photos, top=top):
            answers.append(answer)
            if "error" in answer:
                typer.echo(f"ftcourse: {answer['error']}", err=True)
            elif not as_json:
                likely = "  ".join(f"{t['class']} {t['probability']:.1%}" for t in answer["top"])
                typer.echo(f"{answer['file']}: {likely}")
    if as_json:
        _print_json(answers)
    raise typer.Exit(1 if any("error" in answer for answer in answers) else 0)


@app.command()
def evaluate(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    source: str = typer.Argument(
        ..., metavar="DIR", help="Labelled photos, laid out as for `train`."
    ),
    split: SplitName = typer.Option(
        SplitName.test, help="Drawn as in training; `all` for new photos."
    ),
    on_error: OnError = ON_ERROR,
    as_json: bool = JSON,
) -> None:
    """Measure a run on labelled photos."""
    from ftcourse.reporting.report_page import evaluation
    from ftcourse.shipping.inference import evaluate_folder

    with _only_json(as_json):
        result = evaluate_folder(run, source, split.value, on_error=on_error.value)
    _print_json(result) if as_json else typer.echo(evaluation(result))


@app.command()
def export(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    format: ExportFormat = typer.Option(..., "--format", help="The kind of file."),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Beside the model by default."
    ),
) -> None:
    """Write the model for use without this package, and check that file against PyTorch.

    `onnx-int8` has eight bits a weight; what that costs in accuracy is measured on the validation photos.
    """
    if format is ExportFormat.onnx_int8:
        from ftcourse.shipping.quantize import quantize

        typer.echo(str(quantize(run, out)))
        return
    from ftcourse.shipping.export import export as export_run

    typer.echo(str(export_run(run, format.value, out)))


@app.command()
def card(
    run: Path = typer.Argument(..., metavar="RUN", help="The folder that `train` wrote."),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="RUN/model_card.md by default."
    ),
) -> None:
    """Write a model card from a run: what it is for, what it was measured on, what nobody knows."""
    from ftcourse.reporting.model_card import write_card

    typer.echo(str(write_card(run, out)))


@app.command()
def prefetch(
    names: list[str] | None = typer.Argument(
        None, metavar="[NAMES]", help="Data sets, or `weights`."
    ),
) -> None:
    """Download what the lessons' optional sections use; without a name, list what there is."""
    from ftcourse.prefetch import fetch, listing

    if not names:
        typer.echo(listing())
    for name in names or []:
        typer.echo(f"{name}: {fetch(name)}")


@app.command()
def progress() -> None:
    """What you have done of the lessons' exercises."""
    from ftcourse.exercises import progress as done

    typer.echo(done.summary())
