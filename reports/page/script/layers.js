// The chosen layer: its numbers as report.json has them, worst elements, histogram, slices, sources.
const layers = (() => {
  const { element, plain } = data;
  const NUMBERS = [
    ["status", "status"], ["cause", "cause"], ["shape", "shape"], ["dtype", "type"], ["max_abs", "greatest |Δ|"],
    ["at", "at"], ["reference", "reference there"], ["candidate", "candidate there"],
    ["scale", "greatest |reference|"], ["max_rel", "greatest |Δ| / scale"],
    ["rms_rel", "RMS Δ / RMS reference"], ["limit", "limit of greatest |Δ| / scale"],
    ["mismatched", "elements beyond rounding"], ["size", "elements"],
    ["local_roundings", "candidate's own error, in roundings"],
    ["local_roundings_reference", "reference's own error, in roundings"],
    ["roundings_limit", "roundings admitted"],
    ["rms_roundings", "RMS of both sides' own errors, in roundings"],
    ["rms_roundings_limit", "RMS admitted"],
    ["float64_roundings", "candidate's float64 run, in roundings"],
    ["float64_roundings_reference", "reference's float64 run, in roundings"],
    ["float64_rms_roundings", "RMS of the float64 runs, in roundings"],
    ["local_max_abs", "greatest |Δ| that arises here"],
    ["inherited_max_abs", "greatest |Δ| handed down"],
    ["candidate_to_float64", "candidate to float64"], ["reference_to_float64", "reference to float64"],
    ["float64_max_abs", "greatest |Δ| of the float64 runs"], ["amplification", "amplification"],
    ["decisions", "decisions taken otherwise"], ["origin", "inherits from"],
    ["layers", "the backward pass of"],
  ];
  const ELSEWHERE = new Set(["tap", "order", "note", "label", "short", "message", "parents", "tensor",
    "module", "sources", "layer"]);
  const COLOURS = {
    value: "Cividis",
    // Blue and orange keep apart for colour-blind readers.
    signed: [[0, "#0b4f9c"], [0.5, "#f7f7f7"], [1, "#b84a00"]],
    magnitude: [[0, "#f2efe6"], [0.5, "#d9833d"], [1, "#3d0c3a"]],
  };

  const words = (value) => {
    if (Array.isArray(value)) return `[${value.map(words).join(", ")}]`;
    if (value !== null && typeof value === "object") {
      return Object.entries(value).map(([name, part]) => `${name} ${words(part)}`).join(", ");
    }
    return typeof value === "number" ? data.exact(value) : String(value);
  };

  function numbers(entry) {
    const known = new Map(NUMBERS);
    const names = [...known.keys(), ...Object.keys(entry).filter(
      (name) => !known.has(name) && !ELSEWHERE.has(name))];
    const list = element("dl", { class: "numbers" });
    for (const name of names) {
      const value = entry[name];
      if (value === undefined || value === null || words(value) === "") continue;
      if (name !== "at" && Array.isArray(value) && value.length === 0) continue;
      // Where a whole is judged as one nobody counted what lies beyond its limit.
      if (name === "mismatched" && value === 0 && (entry.roundings_limit === null || entry.status === "differ")) continue;
      list.append(element("div", {}, element("dt", { text: known.get(name) ?? name }),
        element("dd", { text: words(value), "data-field": name })));
    }
    return list;
  }

  function neighbours(part, number, index) {
    const entry = part.entries[index];
    const named = new Map(part.entries.map((other, place) => [other.tap, place]));
    const children = part.entries.flatMap(
      (other, place) => (other.parents.includes(entry.tap) ? [place] : []));
    const parents = entry.parents.map((name) => named.get(name) ?? name);
    const line = (title, places) => {
      if (!places.length) return "";
      const found = element("div", { class: "links" }, element("span", { text: `${title}: ` }));
      for (const place of places) {
        found.append(typeof place === "number"
          ? element("button", { type: "button", text: part.entries[place].layer ? part.entries[place].short : part.entries[place].label,
            title: `${part.entries[place].label}: ${part.entries[place].status}`, on: () => show(number, place) })
          : element("span", { text: place }));
      }
      return found;
    };
    const layer = entry.layer ? [named.get(entry.layer) ?? entry.layer] : [];
    const variables = part.entries.flatMap(
      (other, place) => (other.layer && other.layer === entry.tap && other.status !== "agree" && other.status !== "rounding" ? [place] : []));
    const origin = entry.origin ? [named.get(entry.origin) ?? entry.origin] : [];
    return [line("computed from", parents), line("read by", children), line("inherits from", origin),
      line("layer", layer), line("losses and gradients here that do not agree", variables.slice(0, 30))];
  }

  function worst(part, sample) {
    if (!sample.worst.length) return element("p", { text: "No element differs." });
    const table = element("table", { class: "worst" });
    const [reference, candidate] = part.sides;
    const named = sample.worst.some((found) => found.what);
    table.append(element("thead", {}, element("tr", {},
      ...["at", "|Δ|", `reference (${reference})`, `candidate (${candidate})`, named ? "what the channel holds" : ""].map(
        (text) => element("th", { scope: "col", text })))));
    table.append(element("tbody", {}, ...sample.worst.map((found) => element("tr", {},
      ...[found.at, found.difference, found.reference, found.candidate].map(
        (value) => element("td", { class: "number", text: words(value) })),
      element("td", { text: found.what })))));
    return element("div", { class: "wide" }, table);
  }

  function histogram(place, { counts, first, identical, not_finite: alien, unit_exponent: unit }) {
    const x = ["identical", ...counts.map((_, i) => `2^${first + i - 1}`)];
    const y = [identical, ...counts];
    if (alien) { x.push("not finite"); y.push(alien); }
    data.plot(place, [{ type: "bar", x, y, marker: { color: "#1a6fae" },
      hovertemplate: "%{y} elements, |Δ| from %{x}<extra></extra>" }], {
      height: 230,
      yaxis: { type: "log", title: { text: "elements" } },
      xaxis: { type: "category", automargin: true, nticks: 16, title: { standoff: 8, text: `|Δ| from this part of ${2 ** unit}, the power of two above the tap's magnitudes` } },
    }, { displayModeBar: false });
  }

  // Classes of distances in units in the last place: 0, then from each power of two to the next.
  function ulps(place, { counts, not_finite: alien }) {
    const from = (k) => (k < 2 ? String(k) : k < 11 ? `${2 ** (k - 1)}` : `2^${k - 1}`);
    const x = counts.map((_, k) => from(k));
    const y = [...counts];
    if (alien) { x.push("not finite"); y.push(alien); }
    data.plot(place, [{ type: "bar", x, y, marker: { color: "#7a5c00" },
      hovertemplate: "%{y} elements, from %{x} ULP on<extra></extra>" }], {
      height: 210,
      yaxis: { type: "log", title: { text: "elements" } },
      xaxis: { type: "category", automargin: true, nticks: 16, title: { standoff: 8, text: "ULP apart, from" } },
    }, { displayModeBar: false });
  }

  function slices(place, part, sample) {
    const found = sample.slices;
    const sides = [`reference (${part.sides[0]})`, `candidate (${part.sides[1]})`, "difference"];
    const traces = [];
    const layout = { height: 50 + 205 * found.length, annotations: [], margin: { l: 56, r: 8, t: 4, b: 40 } };
    found.forEach((slice, line) => {
      sides.forEach((title, column) => {
        const key = ["reference", "candidate", "difference"][column];
        const number = line * 3 + column + 1;
        const suffix = number === 1 ? "" : number;
        const picture = slice[key];
        const [height, width] = slice.shape;
        const left = column * 0.34;
        const bottom = 1 - (line + 1) / found.length;
        const tall = 0.76 / found.length;
        const [tallCell, wideCell] = slice.cell;
        traces.push({
          type: "heatmap", z: data.picture(picture, slice.shape), zmin: picture.low, zmax: picture.high,
          x0: 0, dx: wideCell, y: slice.rows ? slice.rows.map(String) : undefined, y0: 0, dy: tallCell,
          colorscale: column === 2 ? COLOURS.signed : COLOURS.value, showscale: false,
          xaxis: `x${suffix}`, yaxis: `y${suffix}`,
          hovertemplate: `${plain(slice.axes[0])} %{y}, ${plain(slice.axes[1])} %{x}: about %{z:.5g}<extra></extra>`,
        });
        const square = height === width;
        layout[`xaxis${suffix}`] = { domain: [left, left + 0.29], anchor: `y${suffix}`, constrain: "domain",
          title: line === found.length - 1 ? { text: slice.axes[1] } : undefined, showgrid: false, zeroline: false };
        layout[`yaxis${suffix}`] = { domain: [bottom + 0.06 / found.length, bottom + 0.06 / found.length + tall],
          anchor: `x${suffix}`, autorange: "reversed", type: slice.rows ? "category" : "linear", showgrid: false, zeroline: false,
          scaleanchor: square ? `x${suffix}` : undefined, constrain: "domain",
          title: column ? undefined : { text: plain(`${slice.axes[0]} · ${slice.title}`), font: { size: 10 } },
          showticklabels: column === 0, nticks: 8 };
        const range = column === 2 ? `±${picture.high.toPrecision(3)}`
          : `${picture.low.toPrecision(3)} to ${picture.high.toPrecision(3)}`;
        layout.annotations.push({ text: `${plain(title)}<br>${range}`, showarrow: false, font: { size: 10 },
          xref: "paper", yref: "paper", x: left + 0.145, y: bottom + 0.06 / found.length + tall, xanchor: "center", yanchor: "bottom" });
      });
    });
    data.plot(place, traces, layout, { displayModeBar: false });
  }

  function overview(place, { shape, rows, channels, axes, ...picture }) {
    data.plot(place, [{
      type: "heatmap", z: data.logarithms(picture, shape), x0: 0, dx: channels, y0: 0, dy: rows,
      colorscale: COLOURS.magnitude, hoverongaps: false,
      colorbar: { title: { text: "log₁₀ |Δ|" }, thickness: 10 },
      hovertemplate: "row %{y}, channel %{x}: |Δ| up to 10^%{z:.2f}<extra></extra>",
    }], {
      height: 280,
      xaxis: { title: { text: axes[1] } },
      yaxis: { title: { text: axes[0] }, autorange: "reversed" },
    }, { displayModeBar: false });
  }

  function sources(part, entry) {
    const found = [];
    (entry.sources ?? []).forEach((keys, side) => {
      const title = `${["Reference", "Candidate"][side]}: ${part.sides[side]}`;
      const holder = element("div", { class: "source" }, element("h4", { text: title }));
      if (!keys.length) {
        holder.append(element("p", { text: part.sides[side] === "metagraph"
          ? `Node ${entry.tensor} of the exported graph.` : "Its source is not part of this project." }));
      }
      keys.forEach((key, place) => {
        const { file, name, first, lines } = part.sources[key];
        const text = lines.map((line, i) => `${String(first + i).padStart(4)}  ${line}`).join("\n");
        const details = element("details", place ? {} : { open: "" },
          element("summary", { text: `${name}, ${file} line ${first}` }),
          element("pre", { text, tabindex: "0" }));
        holder.append(details);
      });
      found.push(holder);
    });
    return found;
  }

  function mark(number, index) {
    const section = document.querySelector(`.part[data-part="${number}"]`);
    section.querySelectorAll(".selected").forEach((found) => {
      found.classList.remove("selected");
      found.removeAttribute("aria-current");
    });
    section.querySelectorAll(".near").forEach((found) => found.classList.remove("near"));
    section.querySelectorAll(`[data-entry="${index}"]`).forEach((found) => {
      found.classList.add("selected");
      found.setAttribute("aria-current", "true");
      const node = found.dataset.node;
      if (node === undefined) return;
      section.querySelectorAll(`[data-parent="${node}"], [data-child="${node}"]`).forEach(
        (edge) => edge.classList.add("near"));
    });
  }

  // Plots of the layer that the page opens on wait until the page is there to be read.
  const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));

  function show(number, index, focus = false, opening = false) {
    const part = data.part(number);
    const panel = document.getElementById(`layer-${number}`);
    if (!part || !panel || !part.entries[index]) return;
    const entry = part.entries[index];
    mark(number, index);
    const holder = (title, kind) => {
      const place = element("div", { class: `plot ${kind}` });
      return [element("h4", { text: title }), place, place];
    };
    panel.querySelectorAll(".plot").forEach((place) => Plotly.purge(place));
    panel.replaceChildren(
      element("h4", { text: entry.label, class: "label" }),
      element("pre", { text: entry.message }),
      ...neighbours(part, number, index),
      element("h4", { text: "Numbers" }), numbers(entry));
    const sample = part.samples[index];
    const drawn = [];
    if (sample) {
      if (sample.patterns.length) {
        panel.append(element("h4", { text: "What the difference looks like" }),
          element("ul", { class: "patterns" }, ...sample.patterns.map((text) => element("li", { text }))));
      }
      panel.append(element("h4", { text: "Worst elements" }), worst(part, sample));
      const add = (title, kind, draw) => {
        const [heading, place] = holder(title, kind);
        panel.append(heading, place);
        drawn.push(() => { if (place.isConnected) draw(place); });
      };
      add("Histogram of |Δ|", "histogram", (place) => histogram(place, sample.histogram));
      if (sample.ulps) {
        add("Histogram of the distance in units in the last place", "ulps", (place) => ulps(place, sample.ulps));
      }
      if (sample.slices.length) {
        add("Slices", "slices", (place) => slices(place, part, sample));
        const [tall, wide] = sample.slices[0].cell;
        if (tall * wide > 1) {
          panel.append(element("p", { class: "note", text:
            `A cell stands for ${tall} × ${wide} elements and shows the one that differs most, on all three pictures.` }));
        }
      }
      add("All of it: greatest |Δ|", "overview", (place) => overview(place, sample.overview));
    } else if (entry.max_abs !== null && entry.parents.length) {
      panel.append(element("p", { text: "Slices and histogram are in this run's own report, if its traces were at hand when it was written." }));
    }
    panel.append(...sources(part, entry));
    drawn.forEach((draw) => (opening ? whenIdle(draw) : draw()));
    panel.scrollTop = 0;
    if (focus) panel.focus();
  }

  function keys(number, nodes, event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const place = nodes.indexOf(document.activeElement.closest("a.node, a.chip")) + step;
    if (!nodes[place]) return;
    event.preventDefault();
    nodes[place].focus();
    show(number, Number(nodes[place].dataset.entry));
  }

  return {
    show,
    start(section) {
      const number = Number(section.dataset.part);
      const nodes = [...section.querySelectorAll("a.node, a.chip")];
      for (const node of nodes) {
        node.addEventListener("click", (event) => {
          event.preventDefault();
          show(number, Number(node.dataset.entry));
        });
        node.addEventListener("keydown", (event) => keys(number, nodes, event));
      }
      section.querySelectorAll("table.entries .show").forEach((link) => {
        link.addEventListener("click", (event) => {
          event.preventDefault();
          show(number, Number(link.closest("tr").dataset.entry), true);
        });
      });
    },
    first(number) {
      const part = data.part(number);
      if (!part || !part.entries.length) return;
      const relative = (entry) => (typeof entry.max_rel === "number" ? entry.max_rel : -1);
      const worstOf = part.entries.reduce(
        (best, entry, i) => (relative(entry) > relative(part.entries[best]) ? i : best), 0);
      show(number, part.first ?? worstOf, false, true);
    },
  };
})();
