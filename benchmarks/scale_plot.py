"""The plot of `benchmarks/scale.py`: embedding, building and one query, in seconds, against the number of images."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scale_fit import Costs


def draw(costs: Costs, path: Path) -> None:
    """Draw `path`, on logarithmic axes; what was measured has a mark."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    counts = sorted(costs.search)
    if costs.embed:
        rate = costs.images_a_second()
        axes.plot(counts, [count / rate for count in counts], ":", color="tab:orange")
        axes.plot(
            list(costs.embed),
            [row["seconds"] for row in costs.embed.values()],
            "o",
            color="tab:orange",
            label="embedding all images, all cores (dotted: at the same rate)",
        )
    built = [costs.search[count]["build_cpu_s"] for count in counts]
    axes.plot(counts, built, "s-", color="tab:blue", label="building the index, one core")
    queries = ((True, "every vector compared", "tab:red"), (False, "inverted file", "tab:green"))
    for exact, how, colour in queries:
        some = [count for count in counts if (costs.search[count]["kind"] == "exact") == exact]
        seconds = [costs.search[count]["p50_ms"] / 1000 for count in some]
        axes.plot(some, seconds, "^-", color=colour, label=f"one query, {how}, one core")
    axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
