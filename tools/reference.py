"""Write the generated parts of the documentation, from the source's own words: what Sphinx has no directive for.

A page holds a pair of comments; what stands between them is replaced, the rest is a person's::

    <!-- generated: options -->
    <!-- end -->

``--check`` writes nothing and ends with status 1 if a page is not current.
"""

from __future__ import annotations

import argparse
import ast
import operator
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_socketio_core.common.options import GRACE, SETTINGS, Options

if TYPE_CHECKING:
    from flask_socketio_core.common.settings import Setting

ROOT = Path(__file__).resolve().parent.parent
CORE = Path("flask_socketio_core")
#: Where the options of ``message_queue_options`` are listed: title and files.
QUEUES = (
    ("Every queue", (CORE / "contracts/settings.py",)),
    (
        "`redis` and `redis-streams`",
        (
            Path("plugins/queue_redis/flask_socketio_queue_redis/client.py"),
            Path("plugins/queue_redis/flask_socketio_queue_redis/streams.py"),
        ),
    ),
    (
        "`rabbitmq` and `kombu`",
        (
            Path("plugins/queue_kombu/flask_socketio_queue_kombu/connections.py"),
            Path("plugins/queue_kombu/flask_socketio_queue_kombu/rabbitmq.py"),
        ),
    ),
    ("`kafka`", (Path("plugins/queue_kafka/flask_socketio_queue_kafka/client.py"),)),
    ("`host`", (Path("plugins/queue_host/flask_socketio_queue_host/queue.py"),)),
)
#: The same for ``store_options``.
STORES = (
    ("`memory`", (CORE / "store/memory.py",)),
    ("`redis`", (Path("plugins/queue_redis/flask_socketio_queue_redis/client.py"),)),
)
#: What the second of a queue's files adds is not for the first kind of it.
ONLY = {
    "streams.py": "`redis-streams` only: ",
    "rabbitmq.py": "`rabbitmq` only: ",
}
#: The plugin that docs/plugins.md shows, which is tested as it stands there.
STRANGERS = Path("tests/third_party")
MARK = re.compile(r"(<!-- generated: (?P<part>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: Columns of what is wrapped.
WIDTH = 116
ARITHMETIC = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub}


class CannotGenerate(Exception):
    """The source is not as this tool expects it; the text says where."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page is not current")
    check = parser.parse_args(argv).check
    stale = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        current = fill(text)
        if current != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(current, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{name}: {'is not current, run tools/reference.py' if check else 'written'}\n")
    return int(check and bool(stale))


def pages() -> list[Path]:
    """Return the pages that have generated parts."""
    return [path for path in sorted((ROOT / "docs").rglob("*.md")) if MARK.search(path.read_text("utf-8"))]


def fill(text: str) -> str:
    """Return a page with its generated parts made anew.

    :raises CannotGenerate: for a part that does not exist.
    """

    def replacement(found: re.Match[str]) -> str:
        part = PARTS.get(found["part"])
        if part is None:
            raise CannotGenerate(f"there is no part {found['part']!r}\n  available: {', '.join(PARTS)}")
        return f"{found[1]}\n{part()}\n\n{found[3]}"

    return MARK.sub(replacement, text)


# ------------------------------------------------------------------------------------------------------ the parts


def options() -> str:
    """Return the table of all options, from that of the core."""
    rows = [
        (f"`{name}`", kind_of(setting), f"`{written(setting.default)}`", f"{sentence(setting.text)}.")
        for name, setting in SETTINGS.items()
        if name != GRACE
    ]
    return table(("option", "type", "default", "meaning"), rows)


def kind_of(setting: Setting[Any]) -> str:
    """Return the type of an option as its field has it, with the unit."""
    annotation = ast.parse(Options.__annotations__[setting.name], mode="eval").body
    return f"{kind(annotation)}{f' ({setting.unit})' if setting.unit else ''}"


def written(default: object) -> str:
    """Return a default as the user would write it."""
    if isinstance(default, tuple):
        return repr(list(default))
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return grouped(default) if type(default) is int else repr(default)


def queue_options() -> str:
    """Return a table per message queue, from its ``Setting(...)`` lines."""
    return options_of(QUEUES)


def store_options() -> str:
    """Return a table per store, likewise."""
    return options_of(STORES)


def options_of(parts: Sequence[tuple[str, tuple[Path, ...]]]) -> str:
    sections = []
    for title, files in parts:
        rows = [
            (f"`{name}`", f"`{kind}`", f"`{value}`", ONLY.get(path.name, "") + text)
            for path in files
            for name, kind, value, text in settings_of(path)
        ]
        sections.append(f"{title}:\n\n{table(('option', 'type', 'default', 'meaning'), rows)}")
    return "\n\n".join(sections)


def error_tree() -> str:
    """Return the tree of errors as the module's docstring draws it."""
    text = ast.get_docstring(parse(CORE / "errors.py")) or ""
    found = re.search(r"::\n\n((?:    .*\n|\n)+)", text)
    if found is None:
        raise CannotGenerate("the docstring of errors.py has no tree behind '::'")
    return f"```text\n{textwrap.dedent(found[1]).strip()}\n```"


def attributes() -> str:
    """Return a table of what there is of Flask-SocketIO's attributes, from the classes that have them."""
    rows = []
    for _, path, body in attribute_classes():
        for node in body:
            if isinstance(node, ast.FunctionDef) and is_attribute(node):
                call = "" if "property" in decorators(node) else "()"
                rows.append((f"`{path}.{node.name}{call}`", *meaning(docstring(node), f"{path}.{node.name}")))
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                name = ast.unparse(node.targets[0])
                option = ast.literal_eval(node.value.args[0]) if node.value.args else name
                text = f"the option `{option}`, to read, and to change before the first client comes"
                rows.append((f"`{path}.{name}`", text, "an argument of `SocketIO()`"))
    return table(("attribute", "what it is here", "instead"), rows)


def left_out() -> str:
    """Return a table of the attributes that are left out, from the texts of their errors."""
    rows = []
    for constants, path, body in attribute_classes():
        for node in body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LEFT_OUT":
                assert isinstance(node.value, ast.Dict)
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    if key is not None:  # not what is taken over from another table
                        text = ast.literal_eval(constants.get(ast.unparse(value), value))
                        rows.append((f"`{path}.{ast.literal_eval(key)}`", text))
    return table(("attribute", "instead"), rows)


def attribute_classes() -> Iterator[tuple[dict[str, ast.expr], str, list[ast.stmt]]]:
    """Yield constants of the module, where an application finds the object, and the body of each class."""
    shared = constants_of(parse(CORE / "app/compatibility/left_out.py"))
    for name in ("extension", "middleware", "server", "manager", "engine"):
        module = parse(CORE / f"app/compatibility/{name}.py")
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                path = [
                    ast.literal_eval(item.value)
                    for item in node.body
                    if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "PATH"
                ]
                if any(ast.unparse(base) == "LeftOut" for base in node.bases):
                    yield {**shared, **constants_of(module)}, path[0] if path else "socketio", node.body


def is_attribute(function: ast.FunctionDef) -> bool:
    setter = any(name.endswith(".setter") for name in decorators(function))
    return not setter and not function.name.startswith("__") and docstring(function) != ""


def docstring(function: ast.FunctionDef) -> str:
    return ast.get_docstring(function) or ""


def meaning(text: str, name: str) -> tuple[str, str]:
    """Split a docstring into what an attribute is and what to use instead."""
    words = " ".join(re.split(r"\n\n:(?:param|raises)", text)[0].split())
    own, _, rest = sentence(words).partition("Instead: ")
    if not rest:
        raise CannotGenerate(f"the docstring of {name} does not say what to use instead")
    return own.strip().rstrip("."), rest.rstrip(".")


def health() -> str:
    """Return what ``SocketIO.health()`` returns, and what that says of each other server."""
    health, peer = (
        markdown(docstring_of(parse(CORE / path), name))
        for path, name in (("cluster/link.py", "BusHealth"), ("cluster/peers.py", "Peer"))
    )
    return f"{health}\n\nEach of `peers`, a `Peer`:\n\n{peer.partition(chr(10) * 2)[2]}"


def files_of(distribution: str, *modules: str) -> str:
    """Return the files of a plugin, each as a code block of its name."""
    blocks = []
    for name in ("pyproject.toml", *(f"{distribution}/{module}" for module in modules)):
        language = {".toml": "toml", ".py": "python"}[Path(name).suffix]
        text = (ROOT / STRANGERS / distribution / name).read_text(encoding="utf-8")
        blocks.append(f"`{name}`:\n\n```{language} {name}\n{text.strip()}\n```")
    return "\n\n".join(blocks)


def queue_plugin() -> str:
    return files_of("socketio_pigeon", "hooks.py", "queue.py")


def store_plugin() -> str:
    return files_of("socketio_drawer", "hooks.py", "store.py")


def feature_plugin() -> str:
    return files_of("socketio_census", "hooks.py")


PARTS: dict[str, Callable[[], str]] = {
    "options": options,
    "queue-options": queue_options,
    "error-tree": error_tree,
    "attributes": attributes,
    "left-out": left_out,
    "health": health,
    "queue-plugin": queue_plugin,
    "store-plugin": store_plugin,
    "store-options": store_options,
    "feature-plugin": feature_plugin,
}


def decorators(function: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown, its fields as a list."""
    fields = re.sub(r"\n    +", " ", docstring).splitlines()
    return "\n".join(list_item(line) if line.startswith(":") else sentence(line) for line in fields)


def list_item(field: str) -> str:
    """Return ``:param x: text`` as an item of a list."""
    words, _, text = field[1:].partition(": ")
    kind, _, name = words.partition(" ")
    if kind != "param":
        raise CannotGenerate(f"a list has no place for ':{words}:'")
    wrapped = textwrap.wrap(
        f"`{name}`: {sentence(text)}", WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([f"- {wrapped[0]}", *(f"  {line}" for line in wrapped[1:])])


# ------------------------------------------------------------------------------------------------ reading source


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def class_of(module: ast.Module, name: str) -> ast.ClassDef:
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise CannotGenerate(f"there is no class {name}")


def docstring_of(module: ast.Module, name: str) -> str:
    return ast.get_docstring(class_of(module, name)) or ""


def sentence(text: str) -> str:
    """Return a docstring's text as Markdown."""
    text = re.sub(r":\w+:`~[\w.]+\.(\w+)`", r"`\1`", text)
    text = re.sub(r":\w+:`([\w.]+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", "\\|")


def constants_of(module: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def kind(annotation: ast.expr) -> str:
    text = re.sub(r"Callable\[.*?\]\s*(?=\||$)|Callable\[\.\.\., bool\]", "callable", ast.unparse(annotation))
    parts = [part.strip() for part in re.split(r"\|", text)]
    plain = [
        re.sub(r"\[.*\]", "", part).replace("Mapping", "dict").replace("tuple", "list") for part in parts
    ]
    return " or ".join(f"`{'any' if part == 'Any' else part}`" for part in dict.fromkeys(plain))


def number(value: ast.expr) -> str:
    """Return an expression's source, calculated if it is arithmetic."""
    result = calculated(value)
    return ast.unparse(value) if result is None else grouped(result)


def calculated(value: ast.expr) -> int | None:
    if isinstance(value, ast.Constant) and type(value.value) is int:
        return value.value
    if isinstance(value, ast.BinOp) and type(value.op) in ARITHMETIC:
        left, right = calculated(value.left), calculated(value.right)
        if left is not None and right is not None:
            result: int = ARITHMETIC[type(value.op)](left, right)
            return result
    return None


def grouped(value: int) -> str:
    return f"{value:_}" if abs(value) >= 10_000 else str(value)


def settings_of(path: Path) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and text of each ``Setting(...)`` in a file, in the file's order."""
    found = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Setting":
            name, type_name, value, text = node.args[:4]
            words = (ast.literal_eval(name), ast.unparse(type_name), number(value), ast.literal_eval(text))
            found.append((node.lineno, words))
    if not found:
        raise CannotGenerate(f"{path} has no Setting(...)")
    return [words for _, words in sorted(found)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
