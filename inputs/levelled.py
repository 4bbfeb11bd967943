"""A template without the mode that makes spikes, as a file that everything else reads.

The graph convolutions' second support is data of the template and no part of the network, so what
is changed here changes neither a port's code nor its weights' format.
"""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np

from inputs.template import SparseMatrix, Template
from weight_conversion.atomic import replacing

_NUMPY_2_AND_1 = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
"""Where a pickle names the module that makes arrays; no array's bytes read like that."""


def levelled(template: Template) -> Template:
    """The template with every row of its second supports summing to −1; see ``level_rows``."""
    first, second, third = (
        (identity, level_rows(scaled)) for identity, scaled in template.supports
    )
    return replace(template, supports=(first, second, third))


def level_rows(support: SparseMatrix) -> SparseMatrix:
    """A support (V, V) with its diagonal changed so that every row sums to −1.

    2L/λmax − I of L = I − D^-½AD^-½ maps a constant to −1 times itself only where a vertex and its
    neighbours all have the same degree. The diagonal takes up what a row lacks; nothing else
    changes. The sums are −1 to the rounding of the diagonal to float32.
    """
    rows, columns = support.indices.T
    others = rows != columns
    size = support.shape[0]
    beside = np.bincount(rows[others], support.values[others].astype(np.float64), minlength=size)
    everyone = np.stack([np.arange(size)] * 2, axis=1)
    indices = np.concatenate([support.indices[others], everyone])
    values = np.concatenate([support.values[others], (-1.0 - beside).astype(np.float32)])
    order = np.lexsort((indices[:, 1], indices[:, 0]))
    return SparseMatrix(indices[order], values[order], support.shape)


def save_template(path: Path, template: Template) -> None:
    """Write a template in the form of ``iccv_p2mpp.dat``: one pickled dict, faces among it.

    It holds NumPy arrays, lists, tuples and integers alone, in protocol 2 and under the module
    names of NumPy 1, so that the authors' own code reads it where it runs.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    levels = [
        [(matrix.indices, matrix.values, matrix.shape) for matrix in pair]
        for pair in template.supports
    ]
    content = {
        "coord": template.coordinates,
        **{f"stage{level}": pair for level, pair in enumerate(levels, start=1)},
        "pool_idx": list(template.unpooling),
        "lape_idx": list(template.laplace),
        "faces_triangle": list(template.faces),
    }
    pickled = pickle.dumps(content, protocol=2).replace(*_NUMPY_2_AND_1)
    with replacing(path) as temporary:
        temporary.write_bytes(pickled)
