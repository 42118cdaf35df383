"""The guided examples are run as their readers run them: against `snapback demo --stay`, cell by cell."""

import os
import pathlib
import re
import subprocess

import nbclient
import nbformat
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "config/examples/sagemaker"
BINARY = os.path.abspath(os.environ["SNAPBACK_BIN"])


@pytest.fixture(scope="module")
def demo():
    """The demo after its story: the addresses of its clients and operators."""
    process = subprocess.Popen([BINARY, "demo", "--stay"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in process.stdout:
            found = re.search(r"Clients: (http://\S+)\s+Operators: (http://\S+)", line)
            if found:
                break
        else:
            pytest.fail("the demo ended before it said where it is")
        yield {"SNAPBACK_DATA": found[1], "SNAPBACK_ADMIN": found[2], "SNAPBACK_BIN": BINARY}
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_a_guided_example_runs_to_its_end_and_draws(demo, name, monkeypatch):
    for variable, value in demo.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbclient.NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2


def test_the_examples_are_kept_without_what_they_printed():
    for path in EXAMPLES.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert all(not cell.outputs and cell.execution_count is None for cell in cells), path.name
