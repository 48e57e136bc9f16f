"""Find code that nothing uses: `python scripts/dead_code.py`. Exit code 1 when there is some.

Vulture finds names that are defined and never said again; the members of enumerations are looked for one by one, since
other enumerations have members of the same names. Beside the code this counts as saying a name: a word of a template, a
dotted path in a string ("apps.core.pages.middleware.Sessions"), by which Django finds what it calls, and a word in the
admin panel's lists. Tests count for nothing: what only they use is dead.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vulture import Vulture
from vulture.core import Item

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    *("apps", "benchmarks", "client", "controlplane", "examples"),
    *("kubevalues", "localcluster", "modelserver", "scripts"),
)
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DOTTED = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_]\w*)+")

# Names that the frameworks call or read themselves, in classes that derive from theirs.
OF_FRAMEWORKS = (
    # Django: models, forms, middlewares, commands, the database backend, converters of paths
    *("ordering", "constraints", "indexes", "abstract", "adding", "as_sql", "lookup_name", "requires_system_checks"),
    *("clean_*", "prepare_value", "format_value", "help_texts", "template_name", "authentication_form"),
    *("use_required_attribute", "redirect_authenticated_user", "process_exception", "*_capable", "urlpatterns"),
    *("app_name", "handler[0-9]*"),
    *("*_FORMAT", "ops_class", "is_usable", "regex", "to_python", "to_url", "arg_joiner", "arity", "output_field"),
    # WhiteNoise
    *("create_compressor", "compress_brotli"),
    # The admin panel
    *("list_*", "search_fields", "actions", "actions_detail", "autocomplete_fields", "readonly_fields", "fieldsets"),
    *("filter_horizontal", "inlines", "add_form", "change_password_form", "has_*_permission", "save_*"),
    *("delete_queryset", "get_readonly_fields", "get_fieldsets", "response_add"),
    # REST framework and its schema
    *("read_only_fields", "extra_kwargs", "serializer_class", "pagination_class", "lookup_*", "page_size*"),
    *("max_page_size", "trailing_slash", "retrieve", "partial_update", "destroy", "validate", "allow_request"),
    *("get_next_link", "get_previous_link"),
    *(
        "has_permission",
        "authenticate_header",
        "target_class",
        "BearerScheme",
        "SessionScheme",
        "get_security_definition",
    ),
    # Celery, uvicorn, Starlette, urllib3, io, signal handlers
    *("requires", "capture_signals", "should_exit", "handle_exit", "stream_response", "redirect_request"),
    *("ConnectionCls", "pool_classes_by_scheme", "readinto", "signum", "frame"),
    # Types that REST framework can't import while it is imported itself
    "APIView",
)
REGISTERED = ("@register*", "@admin.register*", "@action*", "@shared_task*", "@extend_schema*", "@csrf_exempt")
# Read by their names elsewhere: fields of tables, of forms and of what REST says, in SQL, HTML and JSON.
FIELDS = re.compile(r"/(models|forms|serializers|admin|settings|_bare_settings)\.py$|/(api|models)/")
# Django makes one of each app's configuration and table.
FOUND_BY_DJANGO = re.compile(r"/(apps|models)\.py$|/models/")
# Fields of a report that `asdict` turns into JSON, and what `get_…` of a serializer computes.
BY_NAME = {"skew_s", "skew_uncertainty_s"}
# The only member that is none of the others.
ENUM_MEMBERS_BY_ELIMINATION = {"Period.MONTH"}


def main() -> int:
    """Print what is dead; 1 when something is."""
    trees = {path: ast.parse(path.read_text()) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}
    dead = [*_dead_names(trees), *_dead_members(trees)]
    print(*dead, f"dead code: {len(dead) or 'none'}", sep="\n")
    return 1 if dead else 0


def _dead_names(trees: Mapping[Path, ast.Module]) -> Iterator[str]:
    vulture = Vulture(ignore_names=list(OF_FRAMEWORKS), ignore_decorators=list(REGISTERED))
    vulture.scavenge([ROOT / "manage.py", *trees], exclude=["*/migrations/*"])
    vulture.used_names.update(_said_in_templates(), _said_in_strings(trees))
    for item in vulture.get_unused_code(min_confidence=60):
        if not _is_found_by_name(item):
            yield f"{_place(item.filename)}:{item.first_lineno}: {item.typ} {item.name} is used by nothing"


def _is_found_by_name(item: Item) -> bool:
    name, path = str(item.name), str(item.filename)
    if item.typ in ("variable", "attribute"):
        return name in BY_NAME or FIELDS.search(path) is not None
    if item.typ == "class":
        return FOUND_BY_DJANGO.search(path) is not None
    return item.typ == "method" and name.startswith("get_") and path.endswith("/serializers.py")


def _said_in_templates() -> Iterator[str]:
    for template in (ROOT / "frontend" / "templates").rglob("*.*"):
        for tag in re.findall(r"{[{%].*?[%}]}", template.read_text(), re.DOTALL):
            yield from WORD.findall(tag)


def _said_in_strings(trees: Mapping[Path, ast.Module]) -> Iterator[str]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if DOTTED.fullmatch(node.value):
                    yield node.value.rpartition(".")[2]
                elif path.name == "admin.py":
                    yield node.value


def _dead_members(trees: Mapping[Path, ast.Module]) -> Iterator[str]:
    """Members of enumerations that are named nowhere, neither by their class nor by another name for it."""
    defined: dict[tuple[str, str], str] = {}
    said: set[tuple[str, str]] = set()
    for path, tree in trees.items():
        also = dict(_other_names(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases):
                for each in node.body:
                    if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
                        defined[node.name, each.targets[0].id] = f"{_place(path)}:{each.lineno}"
            elif isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value).rpartition(".")[2]
                said.add((also.get(owner, owner), node.attr))
    for (owner, member), place in sorted(defined.items()):
        if (owner, member) not in said and f"{owner}.{member}" not in ENUM_MEMBERS_BY_ELIMINATION:
            yield f"{place}: member {owner}.{member} is used by nothing"


def _other_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Name):
            yield node.targets[0].id, node.value.id


def _place(path: Path | str) -> str:
    return Path(path).relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(main())
