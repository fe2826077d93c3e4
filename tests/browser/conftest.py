"""A real JupyterLab and a real Chromium, both gone when the last test here is done."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SERVER_CONFIG = """
from jupyterlab.galata import configure_jupyter_server
configure_jupyter_server(c)
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.allow_root = True
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
"""
CONNECTED = (
    "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'"
)
ALL_RUN = """() => {
    const cells = window.jupyterapp.shell.currentWidget.content.widgets.filter((cell) => cell.model.type === 'code');
    return cells.every((cell) => cell.model.sharedModel.execution_count !== null);
}"""


class NotebookPage:
    """A notebook in the browser, with every error that the browser reported since it was opened."""

    def __init__(self, page: Page, screenshots: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self._screenshots = screenshots
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def run_all(self) -> None:
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(ALL_RUN, timeout=60_000)
        outputs = self.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']")
        assert outputs.all_inner_texts() == []

    def use_theme(self, name: str) -> None:
        themed = f"body[data-jp-theme-light='{str(name == 'JupyterLab Light').lower()}']"
        if self.page.locator(themed).count():
            return
        self.page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_selector(themed, state="attached")
        self.page.wait_for_timeout(500)  # the style sheet of the theme arrives after its name

    def screenshot(self, name: str, selector: str | None = None, height: float = math.inf) -> Path:
        """Write a picture of the page, or of an element down to some height, into the folder of the screenshots."""
        path = self._screenshots / name
        if selector is None:
            self.page.screenshot(path=path)
            return path
        box = self.page.locator(selector).first.bounding_box()
        assert box is not None
        box["height"] = min(box["height"], height)
        self.page.screenshot(path=path, clip=box)
        return path


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = Path(os.environ.get("FINLAB_NB_SCREENSHOTS", Path(__file__).parent / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser_program() -> str:
    for name in BROWSERS:
        if program := shutil.which(name):
            return program
    reason = f"no browser found: install one of {', '.join(BROWSERS)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


# Not for the session: while Playwright runs, its event loop is the running loop of this thread.
@pytest.fixture(scope="module")
def browser(browser_program: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_program, args=BROWSER_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def notebook_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def jupyterlab(browser_program: str, notebook_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("jupyter")
    config = home / "jupyter_server_config.py"
    config.write_text(SERVER_CONFIG)
    port = _free_port()
    command = [sys.executable, "-m", "jupyterlab", f"--config={config}", f"--ServerApp.port={port}", "--no-browser"]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=_own_settings(home, notebook_folder), stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(server, f"{url}/api", home / "server.log")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture
def open_notebook(
    browser: Browser, jupyterlab: str, notebook_folder: Path, screenshots: Path
) -> Iterator[Callable[..., NotebookPage]]:
    """Return a function that opens a notebook, given as its name or as the source of its cells."""
    contexts = []

    def open_it(source: str | list[str], width: int = 1400, height: int = 2400) -> NotebookPage:
        name = source if isinstance(source, str) else _write_notebook(notebook_folder, source)
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        notebook = NotebookPage(context.new_page(), screenshots)
        notebook.page.goto(f"{jupyterlab}/lab/tree/{name}?reset")
        notebook.page.wait_for_function(CONNECTED, timeout=60_000)
        notebook.use_theme("JupyterLab Light")  # JupyterLab remembers the theme of the test before
        return notebook

    yield open_it
    for context in contexts:
        for page in context.pages:
            page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")
        context.close()


def copy_database(source: Path, target: Path) -> Path:
    """Copy a database that may be open here, in a process of its own: to open it twice in one breaks its locks."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('VACUUM INTO ?', sys.argv[2:]); c.close()"
    subprocess.run([sys.executable, "-c", code, str(source), str(target)], check=True)
    return target


@pytest.fixture
def demo_copy(demo_db: Path, notebook_folder: Path) -> Path:
    """Return a copy of the demo for one test, in a folder of its own that the browser can reach."""
    folder = notebook_folder / f"demo_{len(list(notebook_folder.glob('demo_*')))}"
    folder.mkdir()
    return copy_database(demo_db, folder / "finlab_demo.db")


def _write_notebook(folder: Path, cells: list[str]) -> str:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    name = f"cells_{len(list(folder.glob('cells_*.ipynb')))}.ipynb"
    nbformat.write(notebook, folder / name)
    return name


def _own_settings(home: Path, notebook_folder: Path) -> dict[str, Any]:
    """Return an environment in which no setting, kernel or workspace of the user counts."""
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "TMPDIR")
    folders = {name: home / name.lower() for name in (*places, "JUPYTERLAB_SETTINGS_DIR")}
    for folder in folders.values():
        folder.mkdir()
    notifications = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "apputils-extension"
    notifications.mkdir(parents=True)
    (notifications / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    own = {name: str(folder) for name, folder in folders.items()}
    return {**os.environ, **own, "JUPYTERLAB_GALATA_ROOT_DIR": str(notebook_folder), "JUPYTER_PREFER_ENV_PATH": "1"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")
