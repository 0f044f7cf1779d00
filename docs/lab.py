"""A real JupyterLab in a real Chromium, for pictures and for tests.

    with open_lab(notebook) as lab:
        lab.run_all()
        lab.wait_for_cell(3)
        lab.picture(3, "out.png")

    with start_lab() as server:              several notebooks, one after the other
        lab = server.open("lessons/00_start_here.ipynb")

It needs the extra `browser` (`pip install "ftcourse[browser]"`) and a Chromium. On Debian that is
`apt-get install chromium fonts-dejavu-core fonts-noto-color-emoji`; elsewhere FTCOURSE_CHROMIUM names the program.
Notebooks are copied into a folder of their own, and all of Jupyter's settings are in there, too: nothing of the
user's is read or changed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Lab", "Server", "chromium", "missing", "open_lab", "start_lab"]

CELL = ".jp-Notebook .jp-CodeCell"
APT = "apt-get install chromium fonts-dejavu-core fonts-noto-color-emoji"
TOKEN = "t"  # the server is on 127.0.0.1, for minutes, in a folder of its own
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
SETTINGS = {
    # no pop-up over the picture, and each cell in the page, also those off screen
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def chromium() -> str | None:
    """The browser to drive, or None where there is none."""
    names = (os.environ.get("FTCOURSE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def missing() -> str | None:
    """What a browser test lacks here, with the line that gets it; None where all is there."""
    if importlib.util.find_spec("playwright") is None:
        return 'no playwright: pip install -e ".[browser]"'
    if chromium() is None:
        return f"no Chromium: {APT}"
    return None


class Lab:
    """One notebook, open in one page. `errors` collects what the page complains about."""

    def __init__(self, page: Any, timeout: float) -> None:
        self.page, self.timeout = page, 1000 * timeout
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def cell(self, i: int) -> Any:
        """Code cell i, from 0."""
        return self.page.locator(CELL).nth(i)

    def index(self, words: str) -> int:
        """Which code cell has these words in its source."""
        sources = self.page.locator(CELL).evaluate_all(
            "cells => cells.map(c => c.querySelector('.cm-content')?.innerText ?? '')"
        )
        return next(i for i, source in enumerate(sources) if words in source)

    def output(self, i: int) -> str:
        """What is to be read below code cell i."""
        return self.cell(i).locator(".jp-OutputArea").first.inner_text()

    def run_all(self) -> None:
        """Run > Run All Cells; returns at once."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile("^Run All Cells$")).click()

    def type(self, i: int, source: str) -> None:
        """Write `source` into code cell i as one does by hand, in place of what is there."""
        self.cell(i).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        for k, line in enumerate(source.splitlines()):
            if k:
                self.page.keyboard.press("Enter")
                self.page.keyboard.press("Shift+Home")  # the editor indents by itself
            self.page.keyboard.type(line)

    def run_cell(self, i: int) -> None:
        """Run code cell i with Shift+Enter, and wait for its end."""
        before = self._prompt(i)
        self.cell(i).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(
            """([css, i, before]) => {
                const now = document.querySelectorAll(css)[i].querySelector('.jp-InputPrompt').textContent;
                return now !== before && /\\[\\d+\\]/.test(now) }""",
            arg=[CELL, i, before],
            timeout=self.timeout,
        )

    def _prompt(self, i: int) -> str:
        return self.cell(i).locator(".jp-InputPrompt").text_content() or ""

    def wait_for_cell(self, i: int) -> None:
        """Until code cell i has run."""
        self.page.wait_for_function(
            """([css, i]) => /\\[\\d+\\]/.test(
                document.querySelectorAll(css)[i].querySelector('.jp-InputPrompt').textContent)""",
            arg=[CELL, i],
            timeout=self.timeout,
        )

    def wait_for_all(self) -> None:
        """Until no code cell waits or runs, or one has failed, after which none of the others will."""
        self.page.wait_for_function(
            """css => {
                const has = (cell, part) => cell.querySelector(part)?.textContent.trim() ?? null;
                const all = [...document.querySelectorAll(css)].filter(  // but folded and empty ones
                    c => has(c, '.jp-InputPrompt') && has(c, '.cm-content') !== '');
                if (document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')) return true;
                return all.length && all.every(c => /\\[\\d+\\]/.test(has(c, '.jp-InputPrompt'))) }""",
            arg=CELL,
            timeout=self.timeout,
        )

    def wait_for_text(self, text: str) -> None:
        """Until the page has these words."""
        self.page.wait_for_function(
            "text => document.body.innerText.includes(text)", arg=text, timeout=self.timeout
        )

    def picture(self, i: int, path: str | Path) -> None:
        """The output of code cell i as a PNG."""
        output = self.cell(i).locator(".jp-OutputArea").first
        output.scroll_into_view_if_needed()
        self.page.wait_for_timeout(600)  # images and transitions
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        output.screenshot(path=str(path))

    def screenshot(self, path: str | Path) -> None:
        """What the window shows, as a PNG."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))


class Server:
    """A JupyterLab and a browser; `work` is the folder that it serves."""

    def __init__(self, work: Path, address: str, page: Any, timeout: float) -> None:
        self.work, self.address, self.page, self.timeout = work, address, page, timeout

    def open(self, notebook: str | Path, *, outputs: bool = False) -> Lab:
        """Copy the notebook, without its outputs, into the served folder; open it, and wait for its kernel.

        The kernel of the notebook before it ends. `outputs=True` keeps what is stored.
        """
        self._end_kernels()
        _copy(Path(notebook), self.work, outputs)
        lab = Lab(self.page, self.timeout)
        self.page.goto(f"{self.address}/lab/tree/{Path(notebook).name}?token={TOKEN}&reset")
        self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        # the toolbar says idle before there is a kernel; the status bar does not
        idle = re.compile(r"\| Idle")
        self.page.locator("#jp-main-statusbar").get_by_text(idle).wait_for()
        return lab

    def _end_kernels(self) -> None:
        for session in json.loads(self._call("GET", "/api/sessions")):
            self._call("DELETE", f"/api/sessions/{session['id']}")

    def _call(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(self.address + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            return answer.read()


def _copy(notebook: Path, folder: Path, outputs: bool) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code" and not outputs:
            cell.update(outputs=[], execution_count=None)
    (folder / notebook.name).write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def start_lab(
    *, dark: bool = False, width: int = 1280, height: int = 1400, timeout: float = 240.0,
    env: dict[str, str] | None = None,
) -> Iterator[Server]:  # fmt: skip
    """Start JupyterLab and a browser in a temporary folder; all is ended and removed afterwards."""
    from playwright.sync_api import sync_playwright

    if why := missing():
        raise FileNotFoundError(why)
    failure = Path(tempfile.gettempdir()) / "ftcourse-lab-failure.png"
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        with _server(work, dark, env or {}, timeout) as address, sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                str(work / ".chromium"), executable_path=chromium(), headless=True,
                viewport={"width": width, "height": height}, args=list(FLAGS),
            )  # fmt: skip
            page = context.pages[0]
            page.set_default_timeout(1000 * timeout)
            try:
                yield Server(work, address, page, timeout)
            except Exception:
                page.screenshot(path=str(failure))  # what was to be seen then
                print(f"the page at that moment: {failure}", file=sys.stderr)
                raise
            finally:
                context.close()


@contextlib.contextmanager
def open_lab(notebook: str | Path, **settings: Any) -> Iterator[Lab]:
    """`start_lab` with one notebook opened."""
    with start_lab(**settings) as server:
        yield server.open(notebook)


@contextlib.contextmanager
def _server(work: Path, dark: bool, env: dict[str, str], timeout: float) -> Iterator[str]:
    """JupyterLab in `work`; gives its address."""
    settings = {**SETTINGS}
    if dark:
        settings["apputils-extension/themes"] = {"theme": "JupyterLab Dark"}
    for name, value in settings.items():
        file = work / ".settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    own = {"JUPYTER_CONFIG_DIR": ".config", "JUPYTER_RUNTIME_DIR": ".runtime", "IPYTHONDIR": ".ipython",
           "JUPYTERLAB_SETTINGS_DIR": ".settings", "JUPYTERLAB_WORKSPACES_DIR": ".spaces"}  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
    ]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", "--allow-root"]
    command += [f"--ServerApp.root_dir={work}", "--LabApp.extension_manager=readonly"]
    with open(work / ".log", "w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **{k: str(work / v) for k, v in own.items()}, **env},
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", server, work / ".log", timeout)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(address: str, server: subprocess.Popen, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
