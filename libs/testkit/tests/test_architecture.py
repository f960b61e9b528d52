"""The house rules that import-linter cannot say: names, shapes, SQL and lists that must agree with the folders."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
PACKAGES = {name: ROOT / "services" / name / "src" / name.replace("-", "_") for name in SERVICES}
LIBS = ("contracts", "bus", "chassis", "testkit")
SOURCES = sorted(
    chain(ROOT.glob("libs/*/src/**/*.py"), ROOT.glob("services/*/src/**/*.py"), ROOT.glob("gateway/src/**/*.py"))
)
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "core"}
BANNED_PACKAGES = {"email", "queue", "platform", "messaging", "stripe"}
QUERY_METHODS = {
    "execute",
    "executemany",
    "fetch",
    "fetchrow",
    "fetchval",
    "fetchmany",
    "cursor",
    "copy_records_to_table",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def pyproject() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def queries(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that send SQL: `<connection>.execute("...", ...)` and its kin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in QUERY_METHODS:
            yield node


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_rooms(service: str) -> None:
    folder, package = ROOT / "services" / service, PACKAGES[service]
    for part in ("README.md", "pyproject.toml", "migrations", "tests"):
        assert (folder / part).exists(), part
    for module in ("app", "settings", "api", "usecases", "domain", "store"):
        assert (package / f"{module}.py").exists() or (package / module / "__init__.py").exists(), module
    assert len((package / "app.py").read_text().splitlines()) < 80, "app.py only composes"


def test_every_list_of_services_equals_the_folders() -> None:
    config = pyproject()
    tool = config["tool"]
    assert set(tool["uv"]["sources"]) == {f"backoffice-{name}" for name in (*LIBS, "gateway", "runner", *SERVICES)}
    members = set(re.findall(r'"(backoffice-[a-z-]+)"', str(config["dependency-groups"]).replace("'", '"')))
    assert members == set(tool["uv"]["sources"])
    roots = set(tool["importlinter"]["root_packages"])
    assert roots == {*LIBS, "gateway", "runner", *(name.replace("-", "_") for name in SERVICES)}
    compose = (ROOT / "compose.yaml").read_text()
    readme = (ROOT / "README.md").read_text()
    for name in SERVICES:
        assert re.search(rf"^  {name}:$", compose, re.M), f"{name} has no block in compose.yaml"
        assert f"services/{name}" in readme, f"{name} is not in the README's table"
    contracts = {path.stem.replace("_", "-") for path in (ROOT / "libs/contracts/src/contracts").glob("*.py")}
    publishing = {path.name.split(".")[0] for path in (ROOT / "docs/events").glob("*.json")}
    assert publishing <= contracts & set(SERVICES)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_says_what_it_is_and_is_well_named(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert path.parent.name not in BANNED_PACKAGES | BANNED_NAMES
    tree = ast.parse(path.read_text())
    docstring = ast.get_docstring(tree)
    assert docstring, f"{relative(path)} opens without a line that says what it owns"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node) or isinstance(node, ast.ClassDef), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_sql_is_a_literal(path: Path) -> None:
    for call in queries(ast.parse(path.read_text())):
        for argument in call.args[:1]:
            assert not isinstance(argument, ast.JoinedStr | ast.BinOp), f"{relative(path)}:{call.lineno} builds SQL"
            assert not (
                isinstance(argument, ast.Call)
                and isinstance(argument.func, ast.Attribute)
                and argument.func.attr in {"format", "join", "replace"}
            ), f"{relative(path)}:{call.lineno} builds SQL"


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_store_sends_sql(service: str) -> None:
    package = PACKAGES[service]
    adapters = {"gohorse_db"}  # reads a foreign database, which no store of ours owns
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "store" or room in adapters:
            continue
        for call in queries(ast.parse(path.read_text())):
            receiver = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            assert receiver not in {"conn", "connection", "db", "pool"}, f"{relative(path)}:{call.lineno} sends SQL"


@pytest.mark.parametrize("service", SERVICES)
def test_a_use_case_is_one_file_with_one_public_function_of_its_name(service: str) -> None:
    for path in (PACKAGES[service] / "usecases").glob("*.py"):
        if path.name == "__init__.py":
            continue
        public = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ]
        assert public == [path.stem], relative(path)


@pytest.mark.parametrize("service", SERVICES)
def test_only_app_reads_settings(service: str) -> None:
    package = PACKAGES[service]
    for path in package.rglob("*.py"):
        if path.name in {"app.py", "settings.py"} and path.parent == package:
            continue
        text = path.read_text()
        assert "os.environ" not in text, relative(path)
        assert not re.search(rf"from {package.name}\.settings|{package.name} import settings", text), relative(path)


def test_the_libraries_stay_small() -> None:
    lines = {
        relative(path): len(path.read_text().splitlines())
        for lib in LIBS
        for path in (ROOT / "libs" / lib / "src").rglob("*.py")
    }
    # A service's published language is one module, however many events it has.
    language = {path for path in lines if path.startswith("libs/contracts/")}
    assert {path: count for path, count in lines.items() if count > (400 if path in language else 270)} == {}
    together = sum(count for path, count in lines.items() if path.split("/")[1] in {"bus", "chassis"})
    assert together < 5_400, together


def test_no_file_is_too_long_to_read() -> None:
    assert {relative(path): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 400} == {}


def test_each_decision_is_short_and_ends_in_its_rule() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert records
    for path in records:
        text = path.read_text().strip()
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert len(text.splitlines()) <= 40, path.name
        assert text.splitlines()[-1].startswith("Enforced by:"), path.name
