"""Draws what the JSON files of out/bench say, one panel for each table: `chart.py DIRECTORY FILE.svg [--full]`. Nothing but text is written.

With --full a quick run is refused: what people are shown must have been measured. Panels without their file are left out.
"""
import html
import json
import os
import statistics
import sys

# Part, table, figure, title, unit, the row that is 1, and rows with their short names. A figure may be a function of a sample.
RUNC, GO = "runc by hand", "containerd, Go shim"
WAYS = [
    (RUNC, "runc by hand"), ("ctr, Go shim", "ctr, Go shim"), ("ctr, ours", "ctr, ours"), ("containerd API, Go shim", "containerd, Go shim"),
    ("containerd API, ours", "containerd, ours"), ("podman", "podman"), ("ours: gRPC", "ours, gRPC"), ("ours: CLI", "ours, CLI")]
SHIMS = [(GO, "Go shim"), ("podman, conmon", "conmon"), ("ours, under containerd", "ours, containerd"), ("ours, supervised", "ours, supervised")]
STREAMS = [
    ("runc alone: run -d", "runc, FIFO"), ("containerd: shim to FIFO", "Go shim, FIFO"), ("podman: run, log none", "podman run"),
    ("ours: FIFO", "ours, FIFO"), ("ours: log:// cri", "ours, CRI log"), ("podman: run -d, k8s-file", "podman, CRI log")]
PANELS = [
    ("lifecycle", "lifecycle", "ms", "create, start, end, delete", "ms, less is better", RUNC, WAYS),
    ("lifecycle", "detached", "ms", "create and start, detached", "ms, less is better", RUNC, WAYS),
    ("exec", "sequential", "ms", "exec", "ms, less is better", RUNC, WAYS),
    ("exec", "concurrent", "per second", "exec, 20 at a time", "a second, more is better", RUNC, WAYS),
    ("scale", "one by one", "per second", "start, one by one", "a second, more is better", RUNC, WAYS),
    ("scale", "8 at a time", "per second", "start, 8 at a time", "a second, more is better", RUNC, WAYS),
    # In braces: how many containers.
    ("memory", "memory", "dirty", "private dirty, idle shim, {} containers", "KB, less is better", GO, SHIMS),
    ("memory", "memory", "pss", "PSS, idle shim, {} containers", "KB, less is better", GO, SHIMS),
    ("idle", "idle", lambda sample: sample["switches"] / sample["seconds"], "wake-ups of an idle shim", "a second, less is better", GO, SHIMS),
    ("soak", "soak", "growth", "growth of a shim by soak's calls", "KB, less is better", GO, SHIMS),
    ("stdio", "lines-free", "mb_per_second", "stdout, lines of 100 bytes", "MB/s, more is better", "runc alone: run -d", STREAMS),
]
WIDTH, COLUMNS, LABEL, VALUE, BAR, GAP, TOP = 960, 2, 130, 105, 15, 34, 70

# The card has a colour of its own, so that it can be read on any page; a browser that is dark gets the dark one.
STYLE = """
  text { font: 12px -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .card { fill: #ffffff; stroke: #d1d9e0 } .title { font-size: 17px; font-weight: 600 } .panel { font-weight: 600 }
  .small { font-size: 11px; fill: #59636e } .value { stroke: #ffffff; stroke-width: 4px; paint-order: stroke } .floor { stroke: #59636e; stroke-dasharray: 3 3 }
  .ours { fill: #1a7f37 } .go { fill: #0969da } .podman { fill: #8250df } .runc { fill: #818b98 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .card { fill: #0d1117; stroke: #3d444d } .small { fill: #9198a1 } .value { stroke: #0d1117 } .floor { stroke: #9198a1 }
    .ours { fill: #3fb950 } .go { fill: #4493f8 } .podman { fill: #ab7df8 } .runc { fill: #9198a1 }
  }
"""


def read(directory):
    parts = {}
    for part in dict.fromkeys(panel[0] for panel in PANELS):
        path = os.path.join(directory, part + ".json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                parts[part] = json.load(file)
    return parts


def medians(facts, table, figure, rows):
    """Pairs of a row's short name and its median; rows without a sample are left out."""
    found = {}
    for sample in facts["samples"]:
        # The memory of idle shims depends on how many there are: 100, or as many as there were.
        if sample["table"] == table and sample.get("containers", 0) == _count(facts, table):
            value = figure(sample) if callable(figure) else sample[figure]
            if value is not None:
                found.setdefault(sample["row"], []).append(value)
    return [(row, name, statistics.median(found[row])) for row, name in rows if row in found]


def _count(facts, table):
    counts = {sample.get("containers", 0) for sample in facts["samples"] if sample["table"] == table}
    return max(count for count in counts if count <= 100)


def kind(name):
    return next(word for word in ("ours", "podman", "runc", "go") if word in name.lower().replace("conmon", "podman").replace("ctr", "go"))


def number(value):
    return "%.0f" % value if abs(value) >= 100 else "%.1f" % value if abs(value) >= 10 else "%.2f" % value


def panel(title, unit, floor, values, left, top, width):
    """One panel: a line for each row, the bar as long as its ratio to the floor, or as its value when there is no floor to divide by."""
    base = next((value for row, _, value in values if row == floor), None)
    per = base if base is not None and base > 0 else 1.0
    ratios = [max(value, 0) / per for _, _, value in values]
    scale = (width - LABEL - VALUE) / (max(ratios + [1.0 if per == base else 0.0]) or 1.0)
    yield '<text class="panel" x="%d" y="%d">%s</text>' % (left, top + 12, html.escape(title))
    yield '<text class="small" x="%d" y="%d" text-anchor="end">%s</text>' % (left + width, top + 12, html.escape(unit))
    at = top + 20
    if per == base:
        yield '<line class="floor" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'.format(
            left + LABEL + scale, top + 18, at + len(values) * (BAR + 4))
    for (_, name, value), ratio in zip(values, ratios):
        words = "%s (%.2f)" % (number(value), value / per) if per == base else number(value)
        yield '<text x="%d" y="%d" text-anchor="end">%s</text>' % (left + LABEL - 8, at + 12, html.escape(name))
        yield '<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>' % (kind(name), left + LABEL, at + 1, max(ratio * scale, 1), BAR)
        yield '<text class="small value" x="%.1f" y="%d">%s</text>' % (left + LABEL + ratio * scale + 6, at + 12, words)
        at += BAR + 4


def version(facts, name):
    """The number in the first line that a program has said of itself."""
    words = (facts["versions"][name] or "").replace("~", " ").replace("+", " ").split()
    return next((word for word in words if word[0].isdigit()), "none")


def draw(parts):
    shown = []
    for part, table, figure, title, unit, floor, rows in PANELS:
        if part in parts:
            values = medians(parts[part], table, figure, rows)
            if values:
                shown.append((title.format(_count(parts[part], table)), unit, floor, values))
    body = []
    width = (WIDTH - 40 - (COLUMNS - 1) * 40) // COLUMNS
    height = TOP
    for first in range(0, len(shown), COLUMNS):
        row = shown[first:first + COLUMNS]
        for column, (title, unit, floor, values) in enumerate(row):
            body += panel(title, unit, floor, values, 20 + column * (width + 40), height, width)
        height += 20 + max(len(values) for *_, values in row) * (BAR + 4) + GAP
    first = min(parts.values(), key=lambda facts: facts["date"])
    dates = sorted({facts["date"][:10] for facts in parts.values()})
    heading = "Medians of one run each, %s%s" % (" to ".join(dict.fromkeys((dates[0], dates[-1]))), ", QUICK" if any(f["quick"] for f in parts.values()) else "")
    facts = "%s, %d CPUs; runc %s; containerd %s; podman %s, conmon %s. In brackets: ratio to the dashed line" % (
        first["kernel"], first["cpus"], *(version(first, name) for name in ("runc", "containerd", "podman", "conmon")))
    yield '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">' % (WIDTH, height, WIDTH, height)
    yield "<title>%s</title><style>%s</style>" % (html.escape(heading), STYLE)
    yield '<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>' % (WIDTH - 1, height - 1)
    yield '<text class="title" x="20" y="30">%s</text><text class="small" x="20" y="48">%s</text>' % (html.escape(heading), html.escape(facts))
    yield from body
    yield "</svg>"


def main(directory, path, *more):
    parts = read(directory)
    if not parts:
        sys.exit("bench: nothing to draw in %s" % directory)
    quick = [part for part, facts in parts.items() if facts["quick"]]
    if quick and "--full" in more:
        sys.exit("bench: the last run of %s was a quick one: measure before you show it" % ", ".join(quick))
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join(draw(parts)) + "\n")
    os.replace(path + ".new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
