"""``run``: trace, trace, compare and report in one."""

from typing import Any

import click

from commands.options import (
    PATH,
    figures_option,
    loss_options,
    run_options,
    source_options,
    stage_argument,
    unmatched_option,
    vertices_option,
    weights_option,
)


@click.command("run")
@stage_argument(both=True)
@weights_option
@source_options
@run_options
@loss_options
@click.option("--reference", default="tf", show_default=True, help="Backend taken as right.")
@click.option("--candidate", default="torch", show_default=True, help="Backend that is judged.")
@click.option("--reference-device", help="Device of the reference; --device by default.")
@click.option("--taps", default="*", help="Record and compare only taps that match this glob.")
@unmatched_option
@click.option("--steps", "training_steps", type=click.IntRange(1), metavar="N",
              help="Train both sides N steps from the weights and compare after each.")  # fmt: skip
@click.option("--learning-rate", type=float, default=1e-5, show_default=True,
              help="Of --steps.")  # fmt: skip
@click.option("--keep-traces", is_flag=True,
              help="Keep both sides' traces beside the report (9 GB for both stages).")  # fmt: skip
@vertices_option
@figures_option
@click.option("--out", type=PATH, required=True, help="Folder for the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(**given: Any) -> int:
    """Run STAGE, or both, on two backends and report.

    STAGE may be a network of your own, which --network MODULE registers before this command: with
    --inputs in place of --item, and backends of your own.
    """
    from commands.actions.run import perform

    return perform(**given)
