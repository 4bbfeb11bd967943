"""The source lines of both implementations for each tap, read as text: no framework is imported."""

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OWN = {"torch": "torch_impl", "tf": "tf_reference", "onnx": "torch_impl"}
"""The package that a backend of ours is written in; ONNX graphs are exported from PyTorch."""


@dataclass(frozen=True)
class Excerpt:
    """A function's lines. ``name`` is qualified, ``first`` the first line's number."""

    file: str
    name: str
    first: int
    lines: tuple[str, ...]


# A pattern of taps; then, for each package, where it is computed: file and pattern of functions,
# the nearest to the tap first.
_WHERE: tuple[tuple[str, dict[str, tuple[tuple[str, str], ...]]], ...] = (
    (
        r"cnn\..*",
        {
            "torch_impl": (("cnn", r"SameConv2d\.forward"), ("cnn", r"PerceptualCNN\.forward")),
            "tf_reference": (("cnn", r"image_features"),),
        },
    ),
    (
        r"graph_proj_\d_layer_\d+\.concat",
        {
            "torch_impl": (("coarse", r"Coarse\.forward"),),
            "tf_reference": (("coarse", r"coarse"),),
        },
    ),
    (
        r"graph_proj_.*",
        {
            "torch_impl": (
                ("coarse", r"Coarse\._project"),
                ("projection", r"pixels|nearest_cells|nearest_features|view_statistics"),
            ),
            "tf_reference": (("projection", r"coarse_projection|pixels|_statistics"),),
        },
    ),
    (
        r"graph_pool_.*",
        {
            "torch_impl": (("graph", r"unpool"),),
            "tf_reference": (("graph", r"unpool"),),
        },
    ),
    (
        r"graph_conv_.*\.residual",
        {
            "torch_impl": (("coarse", r"Coarse\._deform"),),
            "tf_reference": (("coarse", r"_convolutions"),),
        },
    ),
    (
        r"graph_conv_.*",
        {
            "torch_impl": (("graph", r"GraphConvolution\.forward"), ("coarse", r"Coarse\._deform")),
            "tf_reference": (("graph", r"graph_convolution"), ("coarse", r"_convolutions")),
        },
    ),
    (
        r"graph_sample_hypothesis_.*",
        {
            "torch_impl": (("refine", r"Refine\.(forward|_move)"),),
            "tf_reference": (("refine", r"moved_mesh"),),
        },
    ),
    (
        r"graph_localproj_.*",
        {
            "torch_impl": (
                ("refine", r"Refine\.(_project|_move)|_read"),
                ("projection", r"pixels|bilinear_corners|bilinear_features|_between_corners"),
                ("projection", r"view_statistics"),
            ),
            "tf_reference": (("projection", r"local_projection|_bilinear|pixels|_statistics"),),
        },
    ),
    (
        r"graph_drb_.*\.localgconv_\d+",
        {
            "torch_impl": (
                ("graph", r"LocalGraphConvolution\.forward"),
                ("refine", r"ReasoningBlock\.forward"),
            ),
            "tf_reference": (
                ("graph", r"local_graph_convolution"),
                ("refine", r"hypothesis_scores"),
            ),
        },
    ),
    (
        r"graph_drb_.*\.(residual_\d|score)",
        {
            "torch_impl": (("refine", r"ReasoningBlock\.forward"),),
            "tf_reference": (("refine", r"hypothesis_scores"),),
        },
    ),
    (
        r"graph_drb_.*",
        {
            "torch_impl": (("refine", r"Refine\.(forward|_move)"),),
            "tf_reference": (("refine", r"moved_mesh"),),
        },
    ),
)


def excerpts(backend: str, tap: str) -> tuple[Excerpt, ...]:
    """What computes ``tap`` in one of our own backends; nothing for others."""
    package = OWN.get(backend)
    for pattern, places in _WHERE:
        if package is not None and re.fullmatch(pattern, tap):
            return tuple(
                found
                for file, names in places[package]
                for found in _functions(package, file)
                if re.fullmatch(names, found.name)
            )
    return ()


@cache
def _functions(package: str, file: str) -> tuple[Excerpt, ...]:
    """All functions and methods of a file, outermost only, in its order."""
    # Finding a top-level package imports nothing.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ()
    path = Path(next(iter(spec.submodule_search_locations))) / f"{file}.py"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inner:
            if isinstance(function, ast.FunctionDef):
                name = function.name
                if isinstance(node, ast.ClassDef):
                    name = f"{node.name}.{name}"
                body = tuple(lines[function.lineno - 1 : function.end_lineno])
                found.append(Excerpt(f"{package}/{file}.py", name, function.lineno, body))
    return tuple(found)
