"""Load `torch.export` archives without running anything that is in them.

torch.export.load trusts its file: it unpickles sample inputs, custom objects and odd weights, evaluates size
expressions as Python (sympy.sympify), resolves operator names by attribute from the torch module, and loads compiled
code. So what torch reads here is a copy that holds only the members an inert archive needs, each of them checked;
the pickled sample inputs are left empty.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.core.errors import UsageError
from hwsim.graph.capture import graph_of, inference_program, quiet
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLES = "data/sample_inputs/model.pt"
#: Raw numbers and format marks, copied as they are.
_PLAIN = re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_(format|version)|byteorder|\.data/.*")
#: Members that torch never needs to rebuild the program.
_IGNORED = re.compile(r"extra/.*|version|data/.*/")
_TARGET = re.compile(
    r"torch\.ops\.(?!load_library|import_module|loaded_libraries)[A-Za-z]\w*\.\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|and_|or_|eq|ne|lt|le|gt|ge)"
    r"|torch\.(sym_(int|float|ite|max|min|not|sum|sqrt)|_sym_sqrt)|math\.(ceil|floor|trunc|sqrt)"
)
#: Functions of torch's size expressions (torch.utils._sympy.functions) and of sympy; none of them evaluates text.
_FUNCTIONS = frozenset((
    "Symbol", "Integer", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing",
    "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt", "FloorToInt", "CeilToInt", "RoundToInt", "PowByNatural",
    "FloatPow", "LShift", "RShift", "Pow", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "floor", "ceiling",
    "Abs", "Piecewise", "Where",
))  # fmt: skip
_EXPRESSION = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.keyword, ast.Load,
    ast.operator, ast.unaryop, ast.cmpop, ast.Tuple,
)  # fmt: skip


def capture_pt2(path: str) -> WorkloadGraph:
    """The workload graph of an archive that `torch.export.save` wrote; raises UsageError as `load_pt2`."""
    program = load_pt2(path)
    canonical = {name: name for name in program.constants} | _first_names(program.state_dict)
    parameters = [(name, p) for name, p in program.named_parameters() if canonical[name] == name]
    return graph_of(inference_program(program), Path(path).stem, parameters, canonical)


def load_pt2(path: str) -> ExportedProgram:
    """The exported program of an archive.

    Raises UsageError if the file cannot be read or holds something that loading would run: pickles, compiled code,
    names or expressions outside the list of harmless ones.
    """
    import torch

    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "model.pt2"
        try:
            with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as target:
                _copy_checked(archive, target, path)
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as a torch.export archive: {error}") from error
        try:
            with quiet():
                return torch.export.load(str(copy))
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise UsageError(f"{path} cannot be loaded by torch {torch.__version__}: {reason}") from error


def _copy_checked(archive: zipfile.ZipFile, target: zipfile.ZipFile, path: str) -> None:
    """Copy what an inert archive needs; the archive's own top folder becomes `model`."""
    names: set[str] = set()
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        if name in names or _IGNORED.fullmatch(name):
            continue
        names.add(name)
        member = f"model/{name}"
        if name == _SAMPLES:
            target.writestr(member, b"")
        elif name in (_MODEL, _WEIGHTS, _CONSTANTS):
            text = archive.read(info)
            _check_document(json.loads(text), f"{path}:{name}")
            target.writestr(member, text)
        elif _PLAIN.fullmatch(name):
            with archive.open(info) as source, target.open(member, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink)
        else:
            raise _refused(path, f"holds {name!r}, which is code or a pickle")
    if _MODEL not in names:
        raise UsageError(
            f"{path} holds no {_MODEL}", expected="an archive written by torch.export.save", remedy="save it again"
        )


def _check_document(document: object, where: str) -> None:
    for key, value in _pairs(document):
        if key == "target" and isinstance(value, str) and _is_node_target(value) and not _TARGET.fullmatch(value):
            raise _refused(where, f"calls {value!r}")
        if key == "expr_str" and not is_harmless(value):
            raise _refused(where, f"has the size expression {value!r}")
        if key == "use_pickle" and value:
            raise _refused(where, "holds a pickled tensor")


def _is_node_target(value: str) -> bool:
    """A target that torch resolves by attribute or through a plug-in; a parameter's `target` is only its name."""
    return value.startswith(("_operator", "torch", "math", "#"))


def is_harmless(expression: object) -> bool:
    """Whether a size expression is arithmetic on symbols and whole numbers, and calls only known functions."""
    try:
        tree = ast.parse(str(expression), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return all(isinstance(node, _EXPRESSION) and _allowed_call(node) for node in ast.walk(tree))


def _allowed_call(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or node.value.isidentifier()
    return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS


def _pairs(document: object) -> Iterator[tuple[str, Any]]:
    """Every key and value in a JSON document."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(document, list):
        for item in document:
            yield from _pairs(item)


def _refused(where: str, what: str) -> UsageError:
    return UsageError(
        f"{where} {what}: loading it could run code",
        remedy="if you trust its author, load the model in Python and export it again, or use a `torch:` source",
    )


def _first_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Every name of a stored tensor -> the first name of the same memory; an archive unties shared parameters."""
    first: dict[object, str] = {}
    names = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.numel() else id(tensor)
        names[name] = first.setdefault(place, name)
    return names
