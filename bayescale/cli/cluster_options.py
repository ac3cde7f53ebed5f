"""Options of the GPUs on which a budget is spent."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli.parsing import given_fields, number, several_values, size_of, sizes_of
from bayescale.errors import shortened

if TYPE_CHECKING:
    from bayescale.splits.hardware import Cluster
    from bayescale.splits.utilization import Utilization


@dataclass(frozen=True)
class GpuOptions:
    """Options of the GPUs on which a budget is spent."""

    gpus: Annotated[int | None, typer.Option("--gpus", help="How many GPUs there are.")] = None
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Its type: a100, h100, h200 or b200.")
    ] = None
    gpu_flops: Annotated[
        str | None, typer.Option("--gpu-flops", help="Or peak FLOP/s of one GPU: 989e12.")
    ] = None
    gpu_memory: Annotated[
        str | None, typer.Option("--gpu-memory", help="Bytes of one GPU: 80e9. Caps the model.")
    ] = None
    gpu_price: Annotated[
        float | None, typer.Option("--gpu-price", help="Dollars per hour of one GPU.")
    ] = None
    utilization: Annotated[
        list[str] | None,
        typer.Option(
            "--utilization",
            metavar="SHARE|RUNS",
            help="Share of the peak that training reaches, default 0.4; by size 1B=0.45, "
            "repeatable; or a run log with a column mfu.",
        ),
    ] = None

    def cluster(self) -> "Cluster | None":
        """Return the cluster, or None if no number of GPUs is given."""
        from bayescale.splits.hardware import Cluster

        if self.gpus is None:
            if given_fields(self):
                raise typer.BadParameter("say how many GPUs there are", param_hint="--gpus")
            return None
        if self.gpu is not None and self.gpu_flops is not None:
            raise typer.BadParameter(
                "name the GPU or state its FLOP/s, not both", param_hint="--gpu-flops"
            )
        memory = size_of(self.gpu_memory, "--gpu-memory")
        more: dict[str, Any] = {"price": self.gpu_price}
        if self.utilization:
            more["utilization"] = _utilization(self.utilization)
        if memory is not None:
            more["memory"] = memory
        if self.gpu is not None:
            return Cluster.of(self.gpu, self.gpus, **more)
        peak = size_of(self.gpu_flops, "--gpu-flops")
        if peak is None:
            raise typer.BadParameter(
                "name the GPU, or state the FLOP/s of one with --gpu-flops", param_hint="--gpu"
            )
        return Cluster(self.gpus, peak, **more)


@dataclass(frozen=True)
class ClusterOptions(GpuOptions):
    """Options of the GPUs on which a budget is spent, and of a budget in days of them."""

    days: Annotated[
        str | None, typer.Option("--days", help="The budget in days, instead of --flops: 14,30.")
    ] = None

    def budgets(self, flops: str | None) -> dict[str, list[float]]:
        """Return the budgets in FLOP or in days, under the name that allocate takes."""
        if flops is not None and self.days is None:
            return {"flops": sizes_of(flops, "--flops")}
        if flops is None and self.days is not None:
            return {"days": sizes_of(self.days, "--days")}
        raise typer.BadParameter(
            "give the budget: --flops 1e22, or --gpus N --gpu NAME --days 30",
            param_hint="--flops",
        )


def _utilization(texts: list[str]) -> "float | Utilization":
    """Return one share, or shares by size from the options or from a run log."""
    from bayescale.runs import read_runs
    from bayescale.splits.utilization import Utilization

    option = "--utilization"
    if any("=" in text for text in texts):
        pairs = [
            (size, number(share, size, option))
            for size, shares in several_values(texts, option).items()
            for share in shares
        ]
        return Utilization.of(pairs)
    if len(texts) > 1:
        raise typer.BadParameter(
            "give one share, or one for each size, such as 1B=0.45 and 70B=0.35", param_hint=option
        )
    if _is_file(texts[0]):
        return Utilization.of_runs(read_runs(Path(texts[0])))
    try:
        return float(texts[0])
    except ValueError:
        raise typer.BadParameter(
            f"{shortened(texts[0])!r} is neither a share such as 0.4, nor a size and share such as "
            "1B=0.45, nor a run log",
            param_hint=option,
        ) from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a path
        return False
