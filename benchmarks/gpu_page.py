"""The page of ``benchmarks.gpu``."""

from collections.abc import Mapping
from typing import Any

from benchmarks.gpu_timing import TIMED


def page(found: Mapping[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        f"# Both stages on {found['device']}",
        "",
        f"{found['date']}, PyTorch {found['torch']}, CUDA {found['cuda']}, cuDNN {found['cudnn']},",
        f"in {found['minutes']:.1f} minutes. Seeded weights and images, the cameras and ground",
        f"truth of the demo's {found['item']}. Each layer is held against its own evaluation in",
        "float64 on the processor, in the run's own precision; of the refine stage at its first",
        "vertices.",
        "Errors are in roundings.",
        "",
    ]
    for stage, result in found["stages"].items():
        lines += [
            f"## {stage}",
            "",
            "| run | layers | beyond rounding | first | greatest error | greatest RMS |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, way in result["ways"].items():
            if "cannot_run" in way:
                lines.append(f"| {name} | cannot run: {way['cannot_run']} | | | | |")
                continue
            lines.append(
                f"| {name} | {way['layers']} | {way['beyond_rounding']} | "
                f"{way['first_beyond'] or 'none'} | {way['greatest_roundings']:.3g} | "
                f"{way['greatest_rms']:.3g} |"
            )
        lines += [
            "",
            f"The same bits twice: {'yes' if result['same_bits_twice'] else 'no'}. The forward",
            f"pass waits for the device: {result['waits_for_the_device']}.",
            "",
            "| float32 | ms |",
            "| --- | --- |",
        ]
        times = result["seconds"]
        lines += [
            f"| {said} | {f'{1e3 * times[name]:.1f}' if name in times else 'left out'} |"
            for name, said in TIMED.items()
        ]
        if "forward" in times and "floor" in times:
            over = times["forward"] / times["floor"]
            lines += ["", f"The forward pass takes {over:.2f} times its products."]
        lines.append("")
    return "\n".join(lines)
