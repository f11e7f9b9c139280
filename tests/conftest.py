"""What all tests share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lifelong_rl import envs, registry  # noqa: F401 (chooses how to render, before a test imports mujoco)

sys.path.append(str(Path(__file__).with_name("toy")))  # where `--plugin toy_plugin` finds it
torch.set_num_threads(1)  # networks here are small: threads would only wait for each other
# what was started in the background ignores Ctrl-C, and so would all that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Make the pretended device known where its tests are run, and nowhere else."""
    if "device" in config.getoption("markexpr").replace("not device", ""):
        from pretend_device import register_device

        register_device()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the fuzzer, see tests/fuzz."""
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-seconds", type=float, default=20.0, help="for all; 0: no limit")
    group.addoption("--fuzz-inputs", type=int, default=1000, help="of each command, at most")
    group.addoption("--fuzz-seed", type=int, default=0)
    group.addoption("--fuzz-json", help="go on after failures, and write the counts here")


@pytest.fixture(autouse=True, scope="session")
def cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache of datasets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIFELONG_RL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the plug-in "toy_plugin", which tests copy and leave as it is."""
    from toy_runs import run_toy

    path = tmp_path_factory.mktemp("runs") / "run"
    assert run_toy(path, "--quiet") == 0
    return path


TABLES = [table for table in vars(registry).values() if isinstance(table, registry.Registry)]


@pytest.fixture
def fresh_registries() -> Iterator[None]:
    """Registries look for entry points anew, and forget what the test adds."""
    saved = {}
    for table in TABLES:
        table.names()
        saved[table] = dict(vars(table))
        fresh = {"_found": {}, "_computing": [], "broken": {}, "_was_read": False}
        kept = {name: dict(getattr(table, name)) for name in ("_registered", "_owners")}
        vars(table).update({**fresh, **kept})
    yield
    for table, before in saved.items():
        for name, owner in table._owners.items():
            # Its module will not be imported again; what these two register is a test's.
            registers = ("lifelong_rl.envs.registration", "lifelong_rl.api")
            if owner.startswith("lifelong_rl.") and owner not in registers:
                before["_owners"].setdefault(name, owner)
                before["_registered"].setdefault(name, table._registered[name])
        vars(table).update(before)


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[registry.Registry, str], None]:
    """Take a name out of a registry until the test is over."""

    def take_out(table: registry.Registry, name: str) -> None:
        table.names()
        for names in (table._found, table._registered, table._owners):
            monkeypatch.delitem(names, name, raising=False)

    return take_out
