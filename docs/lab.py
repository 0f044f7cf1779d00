"""A real JupyterLab in a real Chromium, for pictures and for tests.

    with open_lab(notebook) as lab:
        lab.run_all()
        lab.wait_for_cell(3)
        lab.picture(3, "out.png")

It needs the extra `browser` (`pip install "ftcourse[browser]"`) and a Chromium. On Debian that is
`apt-get install chromium fonts-dejavu-core fonts-noto-color-emoji`; elsewhere FTCOURSE_CHROMIUM names the program.
The notebook is copied into a folder of its own, and all of Jupyter's settings are in there, too: nothing of the
user's is read or changed.
"""

from __future__ import annotations

import contextlib
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

__all__ = ["Lab", "chromium", "open_lab"]

CELL = ".jp-Notebook .jp-CodeCell"
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


class Lab:
    """One notebook, open in one page. `errors` collects what the page complains about."""

    def __init__(self, page: Any, timeout: float) -> None:
        self.page, self.timeout = page, 1000 * timeout
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def cell(self, i: int) -> Any:
        """Code cell i, from 0."""
        return self.page.locator(CELL).nth(i)

    def run_all(self) -> None:
        """Run > Run All Cells; returns at once."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile("^Run All Cells$")).click()

    def wait_for_cell(self, i: int) -> None:
        """Until code cell i has run."""
        self.page.wait_for_function(
            """([css, i]) => /\\[\\d+\\]/.test(
                document.querySelectorAll(css + ' .jp-InputPrompt')[i].textContent)""",
            arg=[CELL, i],
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


@contextlib.contextmanager
def open_lab(
    notebook: str | Path, *, dark: bool = False, width: int = 1280, height: int = 1400,
    timeout: float = 240.0, env: dict[str, str] | None = None,
) -> Iterator[Lab]:  # fmt: skip
    """Start JupyterLab, open the notebook, and wait for its kernel; all is ended afterwards."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    if program is None:
        raise FileNotFoundError(
            "no Chromium found: apt-get install chromium, or set FTCOURSE_CHROMIUM"
        )
    failure = Path(tempfile.gettempdir()) / "ftcourse-lab-failure.png"
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        shutil.copy(notebook, work)
        with _server(work, dark, env or {}, timeout) as address, sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                str(work / ".chromium"), executable_path=program, headless=True,
                viewport={"width": width, "height": height}, args=list(FLAGS),
            )  # fmt: skip
            try:
                lab = Lab(context.pages[0], timeout)
                lab.page.set_default_timeout(1000 * timeout)
                lab.page.goto(address.format(Path(notebook).name))
                lab.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
                # the toolbar says idle before there is a kernel; the status bar does not
                idle = re.compile(r"\| Idle")
                lab.page.locator("#jp-main-statusbar").get_by_text(idle).wait_for()
                yield lab
            except Exception:
                lab.page.screenshot(path=str(failure))  # what was to be seen then
                print(f"the page at that moment: {failure}", file=sys.stderr)
                raise
            finally:
                context.close()


@contextlib.contextmanager
def _server(work: Path, dark: bool, env: dict[str, str], timeout: float) -> Iterator[str]:
    """JupyterLab in `work`; gives the address of a notebook, with {} for its name."""
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
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=t", "--allow-root"]
    command += [f"--ServerApp.root_dir={work}", "--LabApp.extension_manager=readonly"]
    with open(work / ".log", "w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **{k: str(work / v) for k, v in own.items()}, **env},
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/api/status?token=t", server, work / ".log", timeout)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token=t&reset"
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
