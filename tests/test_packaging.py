"""What is installed: metadata, the wheel's contents, and that it works outside a checkout."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import talos_opt
from talos_opt.core.extras import EXTRAS, how_to_install
from tests.release import notes

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_installed_package_is_this_one() -> None:
    assert version("talos-opt") == talos_opt.__version__
    (script,) = entry_points(group="console_scripts", name="talos-opt")
    assert callable(script.load())


def test_what_messages_tell_to_install_is_what_the_extras_are() -> None:
    declared = PROJECT["optional-dependencies"]
    assert {name: list(needs) for name, needs in EXTRAS.items()} == {
        name: needs for name, needs in declared.items() if name not in ("test", "docs", "dev")
    }
    assert how_to_install("onnx") == "pip install 'onnx>=1.18' 'onnxruntime>=1.23'"


def test_every_exported_name_is_there_and_documented() -> None:
    assert sorted(talos_opt._HOME) == sorted(talos_opt.__all__)
    assert set(talos_opt.__all__) <= set(dir(talos_opt))
    for name in talos_opt.__all__:
        value = getattr(talos_opt, name)
        assert value.__doc__, name
        assert value.__name__ in (name, "solvers")
    assert talos_opt.list_solvers()
    assert inspect.ismodule(talos_opt.solvers)
    with pytest.raises(AttributeError, match="no attribute 'sovle'"):
        _ = talos_opt.sovle  # type: ignore[attr-defined]


def test_the_changelog_knows_the_version() -> None:
    version = talos_opt.__version__
    text = (ROOT / "CHANGELOG.md").read_text()
    assert notes(f"v{version}", version, text)
    for tag, changelog, message in (
        ("v9", text, "expected v"),
        ("v1", "## [1] - 2026-01-01\n## [0]", "is empty"),
        ("v1", "## [1]\n- new\n", "has no date"),
        ("v1", "## [10] - 2026-01-01\n- new\n", "has no section"),
    ):
        with pytest.raises(ValueError, match=message):
            notes(tag, "1", changelog)


def test_wheel_and_sdist_are_built_reproducibly(wheel: Path, tmp_path: Path) -> None:
    made = []
    for k in range(2):
        folder = tmp_path / str(k)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
            cwd=ROOT, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert {Path(name).suffix for name in made[0]} == {".whl", ".gz"}
    assert made[0] == made[1]
    assert made[0][wheel.name] == wheel.read_bytes()
    (sdist,) = (tmp_path / "0").glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/test_packaging.py"} <= names
    assert not any("__pycache__" in name or name.startswith(".") for name in names - {".gitignore"})


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == talos_opt.__version__
    assert cited["license"] == PROJECT["license"]


def test_workflows_run_what_is_there() -> None:
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(files) == 2
    commands = []
    for file in files:
        workflow = yaml.safe_load(file.read_text())
        assert workflow["permissions"]
        for job in workflow["jobs"].values():
            commands += [step["run"] for step in job["steps"] if "run" in step]
    text = "\n".join(commands)
    for target in re.findall(r"^make (.+)$", text, re.MULTILINE):
        for name in target.split():
            assert f"\n{name}:" in (ROOT / "Makefile").read_text(), name
    for module in re.findall(r"-m (benchmarks\.\w+|tests\.\w+)", text):
        assert find_spec(module) is not None, module
    for path in re.findall(r"\b((?:tests|models)/[\w./]+)", text):
        assert (ROOT / path).exists(), path
    versions = PROJECT["classifiers"]
    tested = yaml.safe_load(files[0].read_text())["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert {f"Programming Language :: Python :: {v}" for v in tested} <= set(versions)


def test_the_wheel_holds_the_package_and_its_configurations_only(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "talos_opt").rglob("*.py")}
    assert modules <= names
    assert "talos_opt/py.typed" in names
    configurations = {f"talos_opt/{p.relative_to(ROOT)}" for p in ROOT.glob("solver_configs/*")}
    assert configurations
    assert configurations <= names
    roots = {name.partition("/")[0] for name in names}
    assert roots == {"talos_opt", f"talos_opt-{talos_opt.__version__}.dist-info"}


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import talos_opt\n"
        "from talos_opt.core.config import config_names, load_config\n"
        "print(talos_opt.__file__, load_config('balanced').solver, *config_names())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    file, solver, *names = done.stdout.split()
    assert Path(file).is_relative_to(site)
    assert solver == "auto"
    assert names == ["balanced", "exact", "fast", "talos-paper", "throughput"]


def test_the_two_commands_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    for target in ("solve", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile


def test_ci_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_every_dependency_is_bounded_from_below() -> None:
    assert [name for name in PROJECT["dependencies"] if ">=" not in name] == []
