"""The progress board: every exercise as a dot, and where to go on."""

from __future__ import annotations

import importlib
import re
from typing import Any

import ipywidgets as w

from ftcourse.exercises import progress
from ftcourse.widgets.base import Explorer, escape, page
from ftcourse.widgets.freeze import html_table, text_table

__all__ = ["ProgressBoard", "board_rows", "progress_board"]

MARKS = {"right": "●", "tried": "◐", "open": "○"}


def board_rows() -> list[dict[str, Any]]:
    """One dict a lesson: `lesson` "01", `title`, `exercises` (dicts of `number`, `state`, `hints`, `solution`).

    `state` is "right", "tried" or "open".
    """
    done = progress.state()
    rows = []
    for module, numbers in progress.exercises().items():
        exercises = []
        for number in numbers:
            entry = done.get(number, {})
            state = "right" if entry.get("right") else "tried" if entry.get("tries") else "open"
            exercises.append(
                {
                    "number": number, "state": state, "hints": entry.get("hints", 0),
                    "solution": bool(entry.get("solution")),
                }
            )  # fmt: skip
        lesson = module.removeprefix("lesson")
        rows.append({"lesson": lesson, "title": _title(module), "exercises": exercises})
    return rows


def _title(module: str) -> str:
    """From the first line of the module, "Questions of lesson 02, replace_the_head"."""
    text = importlib.import_module(f"ftcourse.exercises.{module}").__doc__ or ""
    found = re.search(r"lesson \d+, ([\w ]+)", text)
    words = found[1].replace("_", " ").capitalize() if found else module
    return (
        words.replace("resnet", "ResNet").replace("pretrained", "pre-trained").replace("gpu", "GPU")
    )


def next_exercise(rows: list[dict[str, Any]]) -> str | None:
    """The first exercise, in order, that is not right yet."""
    for row in rows:
        for exercise in row["exercises"]:
            if exercise["state"] != "right":
                return exercise["number"]
    return None


class ProgressBoard(Explorer):
    """See `progress_board`."""

    def __init__(self) -> None:
        self.panel = w.HTML()
        button = w.Button(description="Refresh", icon="refresh", layout=w.Layout(width="110px"))
        button.on_click(lambda _: self.refresh())
        self.button = button
        self.view = w.VBox([self.panel, button], layout=w.Layout(width="100%", max_width="760px"))
        self.refresh()

    def refresh(self) -> None:
        """Read the progress file again."""
        self.rows = board_rows()
        self.panel.value = page(self._board())

    def _board(self) -> str:
        total = sum(len(r["exercises"]) for r in self.rows)
        right = sum(e["state"] == "right" for r in self.rows for e in r["exercises"])
        lines = "".join(self._line(row) for row in self.rows)
        goal = next_exercise(self.rows)
        after = f"Go on with exercise <b>{goal}</b>." if goal else "All exercises are right."
        return (
            f'<h4>{right} of {total} exercises are right</h4><table style="width:100%">{lines}</table>'
            f'<p class="soft" style="margin:8px 0 4px 0">{after} '
            "A full dot is right, a half one tried, an empty one open; a ring of another colour means that the "
            "worked answer was read first.</p>"
        )

    def _line(self, row: dict[str, Any]) -> str:
        done = row["exercises"]
        right = sum(e["state"] == "right" for e in done)
        dots = "".join(self._dot(e) for e in done)
        hints = sum(e["hints"] for e in done)
        note = f"{hints} hint{'s' * (hints != 1)}" if hints else ""
        weight = "600" if right == len(done) and done else "400"
        return (
            f'<tr><td class="soft num" style="width:28px">{row["lesson"]}</td>'
            f'<td style="font-weight:{weight}">{escape(row["title"])}</td>'
            f'<td style="white-space:nowrap">{dots}</td><td class="num">{right} of {len(done)}</td>'
            f'<td class="soft">{note}</td></tr>'
        )

    @staticmethod
    def _dot(exercise: dict[str, Any]) -> str:
        colour = "var(--ftc-b)" if exercise["solution"] else "var(--ftc-a)"
        fill = {
            "right": colour, "tried": f"linear-gradient(90deg,{colour} 50%,transparent 50%)",
            "open": "transparent",
        }[exercise["state"]]  # fmt: skip
        words = f"{exercise['number']}: {exercise['state']}"
        words += f", {exercise['hints']} hints" if exercise["hints"] else ""
        words += ", worked answer read" if exercise["solution"] else ""
        line = colour if exercise["state"] != "open" or exercise["solution"] else "var(--ftc-soft)"
        return (
            f'<span role="img" title="{words}" aria-label="{words}" style="display:inline-block;width:17px;'
            f"height:17px;border-radius:50%;margin:0 5px -4px 0;border:2px solid {line};"
            f'box-sizing:border-box;background:{fill}"></span>'
        )

    def still(self) -> dict[str, str]:
        self.refresh()
        body = [
            [
                f"{r['lesson']} {r['title']}", "".join(MARKS[e["state"]] for e in r["exercises"]),
                f"{sum(e['state'] == 'right' for e in r['exercises'])} of {len(r['exercises'])}",
            ]
            for r in self.rows
        ]  # fmt: skip
        head, caption = ["lesson", "exercises", "right"], "Progress: ● right, ◐ tried, ○ open."
        return {
            "text/html": html_table(head, body, caption),
            "text/plain": text_table(head, body, caption),
        }


def progress_board() -> ProgressBoard:
    """Your progress in all lessons, from the file on this machine that `ftcourse progress` reads, too."""
    return ProgressBoard()
