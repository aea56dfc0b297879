"""The house: import order, what loads when, public names, what no module may contain."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import recgan

PACKAGE = Path(recgan.__file__).parent
ORDER = [
    "errors", "remote", "config", "rules", "schema", "foreign", "parquet", "tables", "vocabulary", "interactions",
    "items", "splits", "progress", "datasets",
    "metrics", "fidelity", "evaluation", "bias", "histories", "packing", "linear", "popularity", "opening", "features",
    "content", "networks", "halves", "losses", "index", "ranking", "draws", "attributes", "gaps", "moods",
    "reasons", "cold",
    "artifact", "storage", "changes", "bounds",
    "preferences", "serving", "generative", "explaining", "growing", "recommender", "shortcut", "baselines", "training",
    "batch", "report",
    "demonstration", "cli",
]  # fmt: skip
HEAVY = [
    "torch",
    "sklearn",
    "scipy",
    "faiss",
    "pytorch_lightning",
    "matplotlib",
    "implicit",
    "ray",
    "pyspark",
    "torch._dynamo",
]


def modules():
    return sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") or path.parent != PACKAGE
    )


def home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "recgan":
                yield from (f"recgan.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_those_above_it(path):
    own = ORDER.index(home(path))
    for name in imports(path):
        if name.startswith("recgan."):
            other = name.split(".")[1]
            assert other in ORDER or other in recgan.__all__, name
            assert ORDER.index(other) <= own if other in ORDER else home(path) in ("demonstration", "cli"), name


def test_every_module_has_its_place():
    assert {home(path) for path in modules()} == set(ORDER)


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("faiss", {"index"}),
        ("pytorch_lightning", {"training"}),
        ("implicit", {"baselines"}),
        ("ray", {"batch"}),
        ("pyspark", {"batch"}),
    ],
)
def test_a_library_is_imported_in_one_room_only(library, rooms):
    found = {home(path) for path in modules() for name in imports(path) if name.split(".")[0] == library}
    assert found == rooms


def test_nothing_that_runs_code_from_files():
    banned_modules = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle", "yaml", "imp", "code"}
    banned_calls = {
        "eval",
        "exec",
        "torch.load",
        "torch.save",
        "yaml.load",
        "__import__",
        "compile",
        "np.load",
        "numpy.load",
        "pd.read_pickle",
        "os.system",
        "faiss.read_index",
    }
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not banned_modules & {name.split(".")[0] for name in imports(path)}, path
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{path}:{node.lineno}")
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in banned_calls, f"{path}:{node.lineno}"
                assert all(word.arg != "allow_pickle" for word in node.keywords), f"{path}:{node.lineno}"


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy():
    assert loaded_after("import recgan") == set()


def test_serving_never_loads_lightning_or_the_compiler_of_torch(model, tmp_path):
    model.save(tmp_path / "model")
    code = f"import recgan\nrecgan.Recommender.load({str(tmp_path / 'model')!r}).recommend(0)"
    assert not {"pytorch_lightning", "torch._dynamo"} & loaded_after(code)


def test_public_names_are_sorted_and_there():
    assert recgan.__all__ == sorted(recgan.__all__)
    for name in recgan.__all__:
        assert getattr(recgan, name) is not None
    assert set(recgan.__all__) <= set(dir(recgan))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        recgan.nothing  # noqa: B018


def test_nothing_is_seeded_on_import():
    code = "import torch, numpy as np\nnp.random.seed(3); torch.manual_seed(3)\na = torch.initial_seed()\n"
    code += "import recgan; recgan.train; recgan.Recommender\nassert torch.initial_seed() == a\n"
    code += "assert np.random.get_state()[1][0] == 3"
    loaded_after(code)


def test_no_import_asks_the_network_or_writes_a_file():
    names = [".".join(("recgan", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in modules()]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith(("batch.ray", "batch.spark"))]
    code = "import importlib, sys\nseen = []\ndef watch(event, arguments):\n"
    code += (
        "    wrote = event == 'open' and set(str(arguments[1])) & set('wax+') and 'devnull' not in str(arguments[0])\n"
    )
    code += "    if event in ('socket.connect', 'socket.getaddrinfo', 'urllib.Request') or (wrote and '/dev/' not in\n"
    code += "            str(arguments[0])): seen.append((event, arguments))\n"
    code += f"sys.addaudithook(watch)\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "seen = [one for one in seen if '__pycache__' not in str(one) and 'matplotlib' not in str(one)]\n"
    code += "assert not seen, seen"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
