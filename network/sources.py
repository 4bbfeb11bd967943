"""Where the two implementations of this project compute each kind of layer.

For each package files and patterns of functions, the nearest to the layer's output first.
"""

Place = tuple[str, str]

_DEFORM: dict[str, tuple[Place, ...]] = {
    "torch_impl": (("graph", r"GraphConvolution\.forward"), ("coarse", r"Coarse\._deform")),
    "tf_reference": (("graph", r"graph_convolution"), ("coarse", r"_convolutions")),
}
_REASONING: dict[str, tuple[Place, ...]] = {
    "torch_impl": (("refine", r"ReasoningBlock\.forward"),),
    "tf_reference": (("refine", r"hypothesis_scores"),),
}
_MOVED: dict[str, tuple[Place, ...]] = {
    "torch_impl": (("refine", r"Refine\.(forward|_move)"),),
    "tf_reference": (("refine", r"moved_mesh"),),
}

SOURCES: dict[str, dict[str, tuple[Place, ...]]] = {
    "image_convolution": {
        "torch_impl": (("cnn", r"SameConv2d\.forward"), ("cnn", r"PerceptualCNN\.forward")),
        "tf_reference": (("cnn", r"image_features"),),
    },
    "concatenation": {
        "torch_impl": (("coarse", r"Coarse\.forward"),),
        "tf_reference": (("coarse", r"coarse"),),
    },
    "coarse_projection": {
        "torch_impl": (
            ("coarse", r"Coarse\._project"),
            ("projection", r"pixels|nearest_cells|nearest_features|view_statistics"),
        ),
        "tf_reference": (("projection", r"coarse_projection|pixels|_statistics"),),
    },
    "unpooling": {
        "torch_impl": (("graph", r"unpool"),),
        "tf_reference": (("graph", r"unpool"),),
    },
    "halved_sum": {
        "torch_impl": (("coarse", r"Coarse\._deform"),),
        "tf_reference": (("coarse", r"_convolutions"),),
    },
    "graph_convolution": _DEFORM,
    "coordinates": _DEFORM,
    "hypotheses": _MOVED,
    "refine_projection": {
        "torch_impl": (
            ("refine", r"Refine\.(_project|_move)|_read"),
            ("projection", r"pixels|bilinear_corners|bilinear_features|_between_corners"),
            ("projection", r"view_statistics"),
        ),
        "tf_reference": (("projection", r"local_projection|_bilinear|pixels|_statistics"),),
    },
    "local_graph_convolution": {
        "torch_impl": (
            ("graph", r"LocalGraphConvolution\.forward"),
            ("refine", r"ReasoningBlock\.forward"),
        ),
        "tf_reference": (
            ("graph", r"local_graph_convolution"),
            ("refine", r"hypothesis_scores"),
        ),
    },
    "plain_sum": _REASONING,
    "softmax": _REASONING,
    "displaced_vertices": _MOVED,
}
"""By ``TapRow.layer``."""
