"""The registry: what is in it, and how it finds tools in modules and in installed packages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lockstitch.errors import HandlerMissing, ToolError, ToolNameTaken, ToolsNotLoadable
from lockstitch.tools import Tool, ToolRegistry, tool

WriteModule = Callable[[str, str], None]

TWO_TOOLS = """
from lockstitch.tools import Tool, ToolRegistry, tool

@tool
def second(x: int) -> int:
    return x

@tool
def first() -> None: ...

alias = first
not_a_tool = len
both = [second, Tool.of(first)]
registry = ToolRegistry([first])
mixed = [first, print]

class Shop:
    tools = (second,)
"""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Put real modules on the import path; each test uses its own module names."""

    def write(name: str, source: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        monkeypatch.syspath_prepend(tmp_path)

    return write


def install(folder: Path, name: str, entry_points: str) -> None:
    """What an installer leaves behind for a package with entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lockstitch.tools]\n{entry_points}\n")


@tool
def lookup_order(order_id: str) -> str:
    return order_id


@tool
def cancel_order(order_id: str) -> str:
    return order_id


def test_a_registry_reads_like_a_dict_sorted_by_name() -> None:
    registry = ToolRegistry([lookup_order])
    registry.register(Tool.of(cancel_order))

    assert list(registry) == ["cancel_order", "lookup_order"]
    assert len(registry) == 2
    assert "lookup_order" in registry
    assert "refund" not in registry
    assert registry["lookup_order"] is Tool.of(lookup_order)
    assert registry.get("refund") is None
    assert [it.name for it in registry.tools] == ["cancel_order", "lookup_order"]
    assert [it["function"]["name"] for it in registry.definitions()] == ["cancel_order", "lookup_order"]


def test_a_registry_shows_what_is_in_it() -> None:
    assert repr(ToolRegistry([lookup_order, cancel_order])) == "<ToolRegistry: cancel_order, lookup_order>"
    assert repr(ToolRegistry()) == "<ToolRegistry: no tools>"


def test_a_missing_handler_is_named_with_those_that_there_are() -> None:
    with pytest.raises(HandlerMissing, match="No handler named 'refund'; registered: cancel_order, lookup_order"):
        ToolRegistry([lookup_order, cancel_order])["refund"]


def test_registering_the_same_function_twice_is_fine() -> None:
    registry = ToolRegistry([lookup_order, lookup_order])

    assert registry.register(lookup_order) is lookup_order
    assert len(registry) == 1


def test_two_functions_with_one_name_are_refused_with_both_places() -> None:
    @tool(name="lookup_order")
    def other() -> None: ...

    with pytest.raises(ToolNameTaken) as refused:
        ToolRegistry([lookup_order, other])

    assert f"{__name__}:lookup_order and {__name__}:test_two" in str(refused.value)
    assert ".<locals>.other" in str(refused.value)


def test_a_plain_function_is_not_registered_by_accident() -> None:
    def plain(x: int) -> None: ...

    with pytest.raises(ToolError, match="is not a tool; decorate a function with @tool"):
        ToolRegistry([plain])


def test_a_module_brings_its_tools(write_module: WriteModule) -> None:
    write_module("shop_whole", TWO_TOOLS)

    assert list(ToolRegistry.load(["shop_whole"], entry_points=False)) == ["first", "second"]


def test_a_module_brings_the_tools_that_it_imports(write_module: WriteModule) -> None:
    write_module("shop_pkg.orders", TWO_TOOLS)
    write_module("shop_pkg.all", "from shop_pkg.orders import first")

    assert list(ToolRegistry.load(["shop_pkg.all"], entry_points=False)) == ["first"]


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("second", ["second"]),
        ("alias", ["first"]),
        ("both", ["first", "second"]),
        ("registry", ["first"]),
        ("Shop.tools", ["second"]),
    ],
)
def test_an_attribute_brings_a_tool_a_list_or_a_registry(
    write_module: WriteModule, attribute: str, names: list[str]
) -> None:
    write_module("shop_parts", TWO_TOOLS)

    assert list(ToolRegistry.load([f"shop_parts:{attribute}"], entry_points=False)) == names


def test_the_same_module_may_be_named_twice(write_module: WriteModule) -> None:
    write_module("shop_twice", TWO_TOOLS)

    assert len(ToolRegistry.load(["shop_twice", "shop_twice:first"], entry_points=False)) == 2


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("shop_missing", "there is no module 'shop_missing'; is it installed, or its folder in PYTHONPATH?"),
        ("shop_missing.orders:first", "there is no module 'shop_missing'"),
        ("shop_bad:nowhere", "there is no attribute 'nowhere' in the module"),
        ("shop_bad:not_a_tool", "builtin_function_or_method is not a tool; decorate a function with @tool"),
        ("shop_bad:mixed", "<built-in function print> is not a tool; decorate a function with @tool"),
        ("shop_bad:__name__", "str is not a tool"),
        ("shop_empty", "nothing in it is a tool; decorate a function with @tool"),
        ("shop_empty:nothing", "nothing in it is a tool"),
        ("shop_needs", "importing it failed: ModuleNotFoundError: No module named 'a_driver_not_installed'"),
        ("shop_crash", "importing it failed: ZeroDivisionError: division by zero"),
        ("shop_script", "importing it failed: SystemExit: 2"),
        ("shop_syntax", "importing it failed: SyntaxError"),
        ("shop_unusable", "importing it failed: ToolSignatureUnsupported: The tool 'lookup' cannot be"),
        ("", "write package.module or package.module:attribute"),
        ("shop_bad:", "write package.module or package.module:attribute"),
        (".shop_bad", "write package.module or package.module:attribute"),
        ("shop/bad.py", "write package.module or package.module:attribute"),
    ],
)
def test_a_path_that_leads_to_no_tools_is_named_with_the_reason(
    write_module: WriteModule, path: str, says: str
) -> None:
    write_module("shop_bad", TWO_TOOLS)
    write_module("shop_empty", "def plain(x: int) -> None: ...\nnothing = []")
    write_module("shop_needs", "import a_driver_not_installed")
    write_module("shop_crash", "1 / 0")
    write_module("shop_script", "raise SystemExit(2)")
    write_module("shop_syntax", "def broken(")
    write_module("shop_unusable", "from lockstitch.tools import tool\n@tool\ndef lookup(x): ...")

    with pytest.raises(ToolsNotLoadable) as refused:
        ToolRegistry.load([path], entry_points=False)

    assert str(refused.value).startswith(f"No tools can be loaded from {path!r}: {says}")
    assert refused.value.path == path


def test_an_installed_package_brings_its_tools(write_module: WriteModule, tmp_path: Path) -> None:
    write_module("acme_tools", TWO_TOOLS)
    install(tmp_path, "acme", "orders = acme_tools:second\nrest = acme_tools")

    assert list(ToolRegistry.load([])) == ["first", "second"]
    assert list(ToolRegistry.load([], entry_points=False)) == []


def test_a_broken_entry_point_is_named_with_its_value(write_module: WriteModule, tmp_path: Path) -> None:
    write_module("acme_other", TWO_TOOLS)
    install(tmp_path, "acme-broken", "orders = acme_other:gone")

    with pytest.raises(ToolsNotLoadable, match=r"'acme_other:gone \(entry point orders\)': there is no attribute"):
        ToolRegistry.load([])


def test_an_installed_package_may_not_take_the_name_of_another_tool(write_module: WriteModule, tmp_path: Path) -> None:
    write_module("acme_first", TWO_TOOLS)
    write_module("acme_rival", "from lockstitch.tools import tool\n@tool\ndef first() -> None: ...")
    install(tmp_path, "acme-rival", "rival = acme_rival")

    with pytest.raises(ToolNameTaken, match="acme_first:first and acme_rival:first"):
        ToolRegistry.load(["acme_first"])
