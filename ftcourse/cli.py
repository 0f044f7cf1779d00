"""The command line: `ftcourse --help`. It reads options, calls the package, prints; the logic is elsewhere."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Optional

import typer
from typer.core import TyperGroup

from ftcourse._starting import started
from ftcourse.reporting.escaping import one_line
from ftcourse.reporting.options import in_options

__all__ = ["app"]

# What a user can put right: the sentence says it all. Of anything else it says also where in the package it arose.
USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)
CLOSED_PIPE = 141  # what a shell says of a program that SIGPIPE ended


class Commands(TyperGroup):
    """Tells any error in one sentence instead of a traceback; FTCOURSE_DEBUG=1 shows the traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _take_any_letter()
        return super().main(*args, **kwargs)

    def get_command(self, ctx: Any, name: str) -> Any:
        command = super().get_command(ctx, name)
        if command is not None and command.callback is not None:
            command.callback = _begun(command.callback)
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return _flushed(super().invoke, ctx)
        except BrokenPipeError:  # `ftcourse predict ... | head`: nobody has read all of the answer
            _to_nowhere(sys.stdout)
            raise typer.Exit(CLOSED_PIPE) from None
        except KeyboardInterrupt:
            typer.echo("ftcourse: interrupted", err=True)
            raise typer.Exit(130) from None
        except Exception as err:
            own = isinstance(err, (typer.Exit, typer.Abort)) or hasattr(err, "format_message")
            if own or os.environ.get("FTCOURSE_DEBUG"):  # of typer: a wrong option, an exit code
                raise
            typer.echo(f"ftcourse: {_sentence(err)}", err=True)
            raise typer.Exit(2) from err


def _begun(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Ctrl-C is the command's own affair once torch, which takes seconds, is imported; `--help` needs no torch."""

    @functools.wraps(callback)
    def command(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(ImportError):  # what needs it will say so; `doctor` tells the rest
            importlib.import_module("torch")
        started()
        return callback(*args, **kwargs)

    return command


def _flushed(command: Callable[..., Any], ctx: Any) -> Any:
    """A pipe that is closed shows at the latest when the output leaves."""
    try:
        result = command(ctx)
    except typer.Exit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return result


def _sentence(err: Exception) -> str:
    text = one_line(" ".join(str(err).split()))
    if isinstance(err, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return f"not enough memory ({text[:160]}); a smaller --batch-size or --size needs less"
    if isinstance(err, USER_ERRORS):
        return in_options(text or type(err).__name__)
    where = traceback.extract_tb(err.__traceback__)[-1]
    return (
        f"{type(err).__name__}: {text[:300]} (in {Path(where.filename).name}, line {where.lineno}); "
        f"FTCOURSE_DEBUG=1 shows the rest"
    )


# -- the console -------------------------------------------------------------------------------


def _take_any_letter() -> None:
    """What the encoding of the console does not have, or no encoding, is written as `\\u8702`."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # started without one
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _to_nowhere(stream: Any) -> None:
    """What is left to write goes nowhere, or Python would complain at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Unread:
    """A stream that goes on when nobody reads it any more: a run is not lost with the terminal that watched it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, do: Callable[..., Any], *args: Any) -> None:
        try:
            do(*args)
        except BrokenPipeError:
            _to_nowhere(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def _whoever_reads() -> Iterator[None]:
    """Work whose worth is in its files is done to the end."""
    out, err = _Unread(sys.stdout), _Unread(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # type: ignore[type-var]
        yield
        out.flush()
        err.flush()


app = typer.Typer(
    name="ftcourse",
    cls=Commands,
    help="Fine-tune a pre-trained ResNet on a folder of photos, without a network; and the lessons' tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _InOptions:
    """A stream for what the package prints while it works."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(in_options(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


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


class AnswerFormat(str, Enum):
    text = "text"
    json = "json"
    csv = "csv"


class Layout(str, Enum):
    classes = "classes"


class Augment(str, Enum):
    none = "none"
    light = "light"
    standard = "standard"
    strong = "strong"


class ClassWeights(str, Enum):
    balanced = "balanced"


class Mix(str, Enum):
    mixup = "mixup"
    cutmix = "cutmix"


class Log(str, Enum):
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


class SplitName(str, Enum):
    test = "test"
    val = "val"
    train = "train"
    all = "all"


ABSTAIN = typer.Option(
    None, min=0, max=1, metavar="P", help="Leave out answers with a probability below P, 0 to 1."
)
JSON = typer.Option(False, "--json", help="Print JSON to stdout, everything else to stderr.")
LAYOUT = typer.Option(
    None, help="classes, if the top folders are the classes although they look like splits."
)
COLUMNS = typer.Option(
    None,
    metavar="file=NAME,label=NAME",
    help="The columns of a table (file, label, split, group) that their names and cells do not tell.",
)
LABELS = typer.Option(
    None,
    metavar="REGEX",
    help="Where labels are in the names of files: a regular expression with one group in parentheses.",
)
SOURCE = "A folder of photos, or a table of them (.csv, .tsv, .parquet)"
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
    source: Path = typer.Argument(..., metavar="SOURCE", help=f"{SOURCE}."),
    layout: Layout | None = LAYOUT,
    columns: str | None = COLUMNS,
    labels: str | None = LABELS,
    as_json: bool = JSON,
) -> None:
    """Look for what could spoil a folder of photos: broken files, duplicates, leaks. Changes no file."""
    from ftcourse.data.audit import audit as audit_folder

    with _only_json(as_json):
        found = audit_folder(source, layout and layout.value, columns, labels)
    _print_json(found.to_dict()) if as_json else typer.echo(in_options(found.summary()))


@app.command()
def train(
    ctx: typer.Context,
    source: str = typer.Argument(
        ..., metavar="SOURCE", help=f"{SOURCE}, or the name of a built-in set."
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
        "auto",
        help="auto (the best on this machine), imagenet (extra imagenet), DEFAULT (torchvision's or timm's, "
        "downloaded), pocket (in the package), none, or a file.",
    ),
    backbone: str | None = typer.Option(
        None,
        help="A network of torchvision, efficientnet_lite0, timm/NAME or hf-hub:OWNER/NAME@REVISION; "
        "by default the one that the weights are for, or resnet18.",
    ),
    size: Optional[int] = typer.Option(None, min=16, help="Side of the input, in pixels."),  # noqa: UP045
    batch_size: int = typer.Option(32, min=2, help="Photos a step."),
    groups: str | None = typer.Option(
        None,
        help="What stays in one split (patient, camera, burst): parent, a regular expression with one group in "
        "parentheses, or TABLE.csv:COLUMN; file keeps not even near copies together.",
    ),
    layout: Layout | None = LAYOUT,
    columns: str | None = COLUMNS,
    labels: str | None = LABELS,
    on_error: OnError = ON_ERROR,
    keep_placeholders: bool = typer.Option(
        False,
        "--keep-placeholders/--no-keep-placeholders",
        help="Train also on files that seem to stand in for a missing photo.",
    ),
    lr: float | None = typer.Option(
        None,
        help="Peak learning rate of the last stage; the others keep the recipe's proportion to it.",
    ),
    augment: Augment = typer.Option(
        Augment.standard, help="How photos vary; light never mirrors them: for text and maps."
    ),
    class_weights: ClassWeights | None = typer.Option(
        None, help="balanced: a photo of a rare class counts for more."
    ),
    early_stopping: int = typer.Option(
        0, min=0, metavar="N", help="End a stage N epochs after its last better one; 0: never."
    ),
    label_smoothing: float = typer.Option(
        0.0, min=0, help="Share of the target that is spread over all classes."
    ),
    mix: Mix | None = typer.Option(None, help="Mix pairs of photos and their labels."),
    ema: float | None = typer.Option(
        None, metavar="DECAY", help="Keep a moving average of the weights, such as 0.99."
    ),
    bf16: bool = typer.Option(False, "--bf16/--no-bf16", help="Train in bfloat16 autocast."),
    device: str | None = typer.Option(
        None, help="cpu, cuda, cuda:1, mps; by default the best there is."
    ),
    workers: int = typer.Option(0, min=0, help="Processes that load photos."),
    time_budget: float | None = typer.Option(
        None,
        metavar="MINUTES",
        help="Take as many epochs as fit, by timing a few batches before training.",
    ),
    log: Log | None = typer.Option(
        None, help="Tell each epoch also to this program; its package must be installed."
    ),
    folds: int | None = typer.Option(
        None,
        min=2,
        metavar="K",
        help="Cross-validation: train K times, each time tested on another part; keeps no model.",
    ),
    config: Path | None = typer.Option(
        None,
        metavar="FILE",
        help="Options as JSON, such as a run's settings.json; those given here win.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    force: bool = typer.Option(
        False, "--force", help="Replace an earlier run; its files are moved to RUN/before-1."
    ),
    as_json: bool = JSON,
) -> None:
    """Fine-tune on a folder of photos; writes a model, a report and what is needed to resume."""
    from ftcourse.reporting.config import read_settings
    from ftcourse.reporting.report import Settings, train_and_report
    from ftcourse.reporting.report_page import headline
    from ftcourse.reporting.starting_weights import choose

    given = _given(ctx, [field.name for field in fields(Settings)])
    asked = given if config is None else read_settings(config, given)
    start = choose(asked.get("weights", "auto"), asked.get("backbone"), out if resume else None)
    settings = Settings(**asked | {"weights": start.weights, "backbone": start.backbone})
    if folds is not None:
        _cross_validate(source, out, settings, folds, resume or force, as_json)
        return
    with _whoever_reads():
        with _training(as_json):
            report = train_and_report(
                source, out, settings, resume=resume, force=force,
                on_start=lambda: typer.echo(one_line(start.note)) if start.note else None,
            )  # fmt: skip
        for note in report["data_notes"] + report["notes"]:
            typer.echo(f"note: {in_options(one_line(note))}", err=as_json)
        typer.echo(one_line(headline(report)), err=as_json)
        typer.echo(one_line(f"{out / 'report.md'} has the rest."), err=as_json)
        if as_json:
            _print_json(report)


@contextlib.contextmanager
def _training(as_json: bool) -> Iterator[None]:
    """What is printed meanwhile is in the words of the command line; Ctrl-C ends it with a sentence."""
    from ftcourse.reporting.report import Interrupted

    try:
        with _only_json(as_json), contextlib.redirect_stdout(_InOptions(sys.stdout)):  # type: ignore[type-var]
            yield
    except Interrupted as stop:
        typer.echo(f"ftcourse: {one_line(stop)}", err=True)
        raise typer.Exit(130) from stop


def _cross_validate(
    source: str, out: Path, settings: Any, folds: int, again: bool, as_json: bool
) -> None:
    from ftcourse.reporting.cross_validation import cross_validate, in_words

    if again:
        raise ValueError(
            f"--folds {folds}: goes with neither --resume nor --force; give a new folder"
        )
    with _training(as_json):
        found = cross_validate(source, out, settings, folds)
    typer.echo(in_words(found), err=as_json)
    typer.echo(one_line(f"{out / 'folds.md'} has the rest."), err=as_json)
    if as_json:
        _print_json(found)


def _given(ctx: typer.Context, names: list[str]) -> dict[str, Any]:
    """The options that stand on the command line, as the package takes them."""
    return {
        name: getattr(value, "value", value)
        for name, value in ctx.params.items()
        if name in names and getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


@app.command()
def predict(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    files: list[str] | None = typer.Argument(
        None,
        metavar="FILES...",
        help="Photos, folders, globs, @LIST, or - for names on the standard input.",
    ),
    top: int = typer.Option(3, min=1, help="How many classes to name."),
    abstain: Optional[float] = ABSTAIN,  # noqa: UP045
    lists: list[Path] | None = typer.Option(
        None, "--list", metavar="FILE", help="A file with the names of photos, one a line."
    ),
    table: Path | None = typer.Option(
        None, "--csv", metavar="FILE", help="Write the answers into a CSV file."
    ),
    format: AnswerFormat = typer.Option(AnswerFormat.text, "--format", help="What to print."),
    as_json: bool = JSON,
) -> None:
    """Classify photos. A file that cannot be read is told and does not stop the others; exit code 1 then.

    RUN may also be an ONNX file that `export` wrote.
    """
    from ftcourse.shipping.answers import as_csv, counted, names_in
    from ftcourse.shipping.inference import find_photos, predict_files
    from ftcourse.shipping.runs import load_run
    from ftcourse.training.checkpoints import write_atomic

    wanted, answers = "json" if as_json else format.value, []
    with _only_json(wanted != "text"):
        names = names_in(files or [], lists or [])
        photos = find_photos(names)
        if not photos:
            raise FileNotFoundError(f"{' '.join(names) or 'no file is named'}: no photos there")
        classifier = load_run(run)
        seen = wanted == "text" and sys.stdout.isatty()  # the answers themselves show how far it is
        found = predict_files(classifier, photos, top=top, abstain=abstain)
        for answer in counted(found, len(photos), quiet=seen):
            answers.append(answer)
            if "error" in answer:
                typer.echo(f"ftcourse: {one_line(answer['error'])}", err=True)
            elif wanted == "text":
                likely = "  ".join(f"{t['class']} {t['probability']:.1%}" for t in answer["top"])
                unsure = "not sure: " if answer.get("abstained") else ""
                typer.echo(one_line(f"{answer['file']}: {unsure}{likely}"))
    if table is not None:
        write_atomic(table, as_csv(answers, top).encode("utf-8", "surrogateescape"))
    if wanted != "text":
        _print_json(answers) if wanted == "json" else typer.echo(as_csv(answers, top), nl=False)
    wrong = sum("error" in answer for answer in answers)
    if wrong:
        typer.echo(f"ftcourse: {wrong} of {len(answers)} files could not be read", err=True)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def evaluate(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    source: str = typer.Argument(
        ..., metavar="SOURCE", help="Labelled photos, laid out as for `train`."
    ),
    split: SplitName = typer.Option(
        SplitName.test, help="Drawn as in training; `all` for new photos."
    ),
    abstain: Optional[float] = ABSTAIN,  # noqa: UP045
    layout: Layout | None = LAYOUT,
    columns: str | None = COLUMNS,
    labels: str | None = LABELS,
    on_error: OnError = ON_ERROR,
    as_json: bool = JSON,
) -> None:
    """Measure a run on labelled photos."""
    from ftcourse.reporting.report_page import evaluation
    from ftcourse.shipping.inference import evaluate_folder

    with _only_json(as_json):
        result = evaluate_folder(
            run, source, split.value, on_error=on_error.value, layout=layout and layout.value,
            abstain=abstain, columns=columns, labels=labels,
        )  # fmt: skip
    _print_json(result) if as_json else typer.echo(evaluation(result))


@app.command()
def compare(
    first: Path = typer.Argument(..., metavar="RUN", help="The folder of a finished run."),
    second: Path = typer.Argument(..., metavar="RUN", help="That of another one."),
    as_json: bool = JSON,
) -> None:
    """Tell whether two runs really differ, on the test photos that both have."""
    from ftcourse.reporting import compare as comparison

    found = comparison.compare(first, second)
    _print_json(found) if as_json else typer.echo(comparison.summary(found))


@app.command()
def export(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or its model file."
    ),
    format: ExportFormat = typer.Option(..., "--format", help="The kind of file."),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Beside the model by default."
    ),
    photos: Path | None = typer.Option(
        None, "--photos", metavar="DIR", help="For onnx-int8; those of the training by default."
    ),
) -> None:
    """Write the model for use without this package, and check that file against PyTorch.

    `onnx-int8` has eight bits a weight; what that costs in accuracy is measured on the validation photos.
    """
    if format is ExportFormat.onnx_int8:
        from ftcourse.shipping.quantize import quantize

        typer.echo(one_line(quantize(run, out, photos)))
        return
    from ftcourse.shipping.export import export as export_run

    typer.echo(one_line(export_run(run, format.value, out)))


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
def serve(
    run: Path = typer.Argument(
        ..., metavar="RUN", help="The folder that `train` wrote, or a model."
    ),
    port: int | None = typer.Option(None, min=1, max=65535, help="From 7860 on by default."),
) -> None:
    """Serve a page to drop a photo on, for this machine alone (127.0.0.1), until Ctrl-C."""
    from ftcourse.shipping.runs import load_run
    from ftcourse.shipping.serve import serve as serve_page

    serve_page(load_run(run), port)


@app.command()
def push(
    run: Path = typer.Argument(..., metavar="RUN", help="The folder that `train` wrote."),
    repo: str = typer.Argument(..., metavar="REPO", help="owner/name on the hub."),
    revision: str | None = typer.Option(None, metavar="BRANCH", help="main by default."),
    private: bool = typer.Option(False, "--private", help="Only you see it."),
) -> None:
    """Upload the model, how it takes photos, its card and its report to huggingface.co, or to HF_ENDPOINT."""
    from ftcourse.reporting.model_card import write_card
    from ftcourse.shipping.hub import push as push_run

    card = run / "model_card.md"
    if not card.exists():
        typer.echo(
            f"{write_card(run)}: written; fill in what only you know, and push again", err=True
        )
    typer.echo(push_run(run, repo, card, revision=revision, private=private))


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
def progress(
    to: Path | None = typer.Option(
        None, "--export", metavar="FILE", help="Write it into a file, to hand in or to take along."
    ),
    added: Path | None = typer.Option(
        None, "--import", metavar="FILE", help="Add what --export wrote, here or elsewhere."
    ),
) -> None:
    """What you have done of the lessons' exercises."""
    from ftcourse.exercises import progress as done

    if added is not None:
        typer.echo(f"{added}: exercises added or changed: {done.merge(added)}")
    if to is not None:
        typer.echo(f"{to}: exercises written: {done.export(to)}")
    if to is None:
        typer.echo(done.summary())
