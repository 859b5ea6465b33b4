"""Tests that meshd can be installed in each way, and is found from any directory."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("meshd", "filters", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

FILTER = """
    import attrs
    from meshd.filter import NetworkFilter
    from meshd.plugin import NetworkFilterPlugin

    @attrs.define
    class Config:
        greeting: str = "hello"

    it = NetworkFilterPlugin("acme.{name}", Config, lambda config, context: NetworkFilter, ("greeting",))
"""


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a command in a directory, without this process's PYTHONPATH; return what it prints."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def sources(package: str) -> set[str]:
    """Return the Python files of the checkout below a package, relative to the checkout."""
    files = (ROOT / package).rglob("*.py")
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what an installation is made from, links as links."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(source, copy / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, copy)
    return copy


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was made of the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, checkout, cwd=directory)
    return directory


@pytest.fixture(scope="module", params=["wheel", "sdist", "editable"])
def bin_directory(
    request: pytest.FixtureRequest, checkout: Path, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of programs of a venv in which meshd is installed in one of the ways."""
    venv = tmp_path_factory.mktemp(request.param)
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv)
    # What meshd depends on is here already; a line in a .pth file does not bring its own .pth files.
    [packages] = venv.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    what: dict[str, list[str | Path]] = {
        "wheel": [*built.glob("*.whl")],
        "sdist": [*built.glob("*.tar.gz")],
        "editable": ["-e", checkout],
    }
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        venv / "bin" / "python",
        "install",
        "--quiet",
    ]
    options = ["--no-deps", "--no-build-isolation", "--ignore-installed", "--no-index"]
    run(*pip, *options, *what[request.param], cwd=venv)
    return venv / "bin"


class TestContents:
    """What is in the files."""

    def expected(self) -> set[str]:
        """Return the files that must be there."""
        filters = {f"meshd/{path}" for path in sources("filters")}
        return sources("meshd") | filters | {"twisted/plugins/meshd.py", "meshd/py.typed"}

    def test_wheel(self, built: Path) -> None:
        """A wheel has all modules, the filters among them, and nothing of Twisted's or of the tests."""
        [wheel] = built.glob("*.whl")
        names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        assert names == self.expected()

    def test_sdist(self, built: Path) -> None:
        """An sdist has them as files, not as a link."""
        [sdist] = built.glob("*.tar.gz")
        with tarfile.open(sdist) as tar:
            files = {member.name.partition("/")[2] for member in tar if member.isfile()}
        assert self.expected() <= files
        assert {"LICENSE", "README.md", "setup.cfg", "pyproject.toml"} <= files


class TestInstalled:
    """From a directory that has nothing to do with it."""

    def test_twistd(self, bin_directory: Path, tmp_path: Path) -> None:
        """Twistd knows meshd and its options."""
        twistd: list[str | Path] = [
            bin_directory / "python",
            "-c",
            "from twisted.scripts.twistd import run; run()",
        ]
        assert "--config-path=" in run(*twistd, "meshd", "--help", cwd=tmp_path)

    def test_command(self, bin_directory: Path, tmp_path: Path) -> None:
        """The command is there, and is of the version that was built."""
        assert run(bin_directory / "meshd", "--version", cwd=tmp_path) == "meshd version: 0.1.0\n"

    def test_filters(self, bin_directory: Path, tmp_path: Path) -> None:
        """The filters that ship are found, all of them."""
        text = run(bin_directory / "meshd", "filters", cwd=tmp_path)
        for name in ("tcp_proxy", "echo", "connection_limit"):
            assert f"envoy.filters.network.{name}  (network)" in text
        assert "cannot be used" not in text

    def test_drop_ins(self, bin_directory: Path, tmp_path: Path) -> None:
        """Filters of third parties are found in each of the three ways."""
        places = {
            "one": "meshd/filters/network/acme_one.py",
            "two": "twisted/plugins/acme_two.py",
            "three": "acme_three.py",
        }
        for name, place in places.items():
            file = tmp_path / "third" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(FILTER).format(name=name))
        info = tmp_path / "third" / "acme-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[meshd.filters]\nthree = acme_three:it\n")
        text = run(bin_directory / "meshd", "filters", cwd=tmp_path, PYTHONPATH=str(tmp_path / "third"))
        for name in places:
            assert f"acme.{name}  (network)" in text
        assert "cannot be used" not in text
