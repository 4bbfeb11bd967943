"""The vector–Jacobian product of a program, as a program of the same primitives.

It reads the program's own inputs and ``gradient``, the gradient at its output, and gives the
gradient at every input. So it has bounds as any program has.
"""

from collections.abc import Collection, Mapping

from network.program import Expression, Program, Tape
from parity.oracle.primitives import RULES
from parity.oracle.primitives.rule import HandBack

GRADIENT = "gradient"
FORWARD = "forward"
"""The output of a derived program that is the original's, so that a run's own can be put there."""


_DERIVED: dict[tuple[int, frozenset[str]], tuple[Program, Program]] = {}


def vjp_of(program: Program, wanted: Collection[str]) -> Program:
    """The program that hands a gradient back to the inputs named; derived once."""
    key = id(program), frozenset(wanted)
    if key not in _DERIVED:
        # The program itself is kept, so that its identity stays its own.
        _DERIVED[key] = program, derived(program, key[1])
    return _DERIVED[key][1]


def derived(
    program: Program, wanted: Collection[str], instead: Mapping[int, HandBack] | None = None
) -> Program:
    """The same, derived anew, with another VJP of some nodes."""
    tape = Tape(program.nodes)
    gradient = tape.apply("input", name=GRADIENT)
    handed: dict[int, Expression] = {program.outputs["value"]: gradient}
    needed = _reached(program, frozenset(wanted))
    found: dict[str, int] = {}
    for index in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[index]
        if index not in handed or index not in needed:
            continue
        if node.primitive == "input":
            found[node.settings["name"]] = handed[index].index
            continue
        operands = [Expression(tape, each) for each in node.operands]
        output = Expression(tape, index)
        if instead is not None and index in instead:
            back = instead[index](operands, output, handed[index])
        else:
            back = RULES[node.primitive].vjp(node.settings, operands, output, handed[index])
        for operand, share in zip(node.operands, back, strict=True):
            if share is not None and operand in needed:
                handed[operand] = handed[operand] + share if operand in handed else share
    outputs = {**found, FORWARD: program.outputs["value"]}
    return Program(tuple(tape.nodes), outputs, program.activations)


def _reached(program: Program, wanted: frozenset[str]) -> set[int]:
    """Nodes that depend on an input that is asked for."""
    found: set[int] = set()
    for index, node in enumerate(program.nodes):
        if node.settings.get("name") in wanted or any(each in found for each in node.operands):
            found.add(index)
    return found
