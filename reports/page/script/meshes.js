// Both output meshes in 3D with one camera, coloured by their difference; a picked vertex shows how
// far apart the two sides were at it, layer by layer.
const meshes = (() => {
  const { element } = data;
  const DIFFERENCE = [[0, "#e9e6dc"], [0.25, "#f2b56b"], [0.5, "#d9593d"], [0.75, "#8b1a56"], [1, "#1d0c3a"]];

  function unpacked(mesh) {
    return {
      sides: mesh.vertices.map((text) => data.unpack(text, "<f4")),
      faces: data.unpack(mesh.faces, "<i4"),
      distance: data.unpack(mesh.distance, "<f4"),
      spikes: mesh.spikes.map((text) => (text === null ? null : data.unpack(text, "u1"))),
      unpooling: mesh.unpooling.map((text) => data.unpack(text, "<i4")),
    };
  }

  function coordinates(points) {
    const [x, y, z] = [[], [], []];
    for (let i = 0; i < points.length; i += 3) {
      x.push(points[i]); y.push(points[i + 1]); z.push(points[i + 2]);
    }
    return { x, y, z };
  }

  function triangles(faces, points) {
    const [i, j, k] = [[], [], []];
    const whole = (vertex) => [0, 1, 2].every((axis) => Number.isFinite(points[3 * vertex + axis]));
    for (let f = 0; f < faces.length; f += 3) {
      const corners = faces.subarray(f, f + 3);
      if (![...corners].every(whole)) continue;
      i.push(corners[0]); j.push(corners[1]); k.push(corners[2]);
    }
    return { i, j, k };
  }

  // The vertices of an earlier, coarser level that a vertex came from: itself, or the ends of the
  // edge that the unpooling put it on.
  function ancestors(vertex, count, unpooling) {
    let found = [vertex];
    for (const pairs of [...unpooling].reverse()) {
      const before = base(pairs);
      if (count > before) break;
      const ends = (v) => (v < before ? [v] : [pairs[2 * (v - before)], pairs[2 * (v - before) + 1]]);
      found = [...new Set(found.flatMap(ends))];
    }
    return found.filter((v) => v < count);
  }

  // How many vertices there were before these edges got theirs: the greatest index in them, and one.
  function base(pairs) {
    let most = -1;
    for (const vertex of pairs) most = Math.max(most, vertex);
    return most + 1;
  }

  // Where a vertex was when the mesh had ``points``: its own place, or on the edges that it was
  // unpooled from, in the middle between the ends.
  function placed(points, vertex, unpooling) {
    if (3 * vertex < points.length) return [...points.subarray(3 * vertex, 3 * vertex + 3)];
    for (const pairs of [...unpooling].reverse()) {
      const before = base(pairs);
      if (vertex < before) continue;
      const ends = [0, 1].map((end) => pairs[2 * (vertex - before) + end]);
      if (ends.some((v) => v === undefined || v >= vertex)) return null;
      const [a, b] = ends.map((v) => placed(points, v, unpooling));
      return a && b ? a.map((value, axis) => (value + b[axis]) / 2) : null;
    }
    return null;
  }

  // The way of a vertex through the layers that hold coordinates: [label, reference, candidate].
  function places(part, open, vertex) {
    return Object.entries(part.mesh.positions).flatMap(([index, sides]) => {
      const [r, c] = sides.map((text) => placed(data.unpack(text, "<f4"), vertex, open.unpooling));
      return r && c ? [[part.entries[index].label, r, c, Number(index)]] : [];
    });
  }

  function path(part, open, vertex) {
    return part.entries.flatMap((entry, index) => {
      const sample = part.samples[index];
      // Rows of taps that the table of taps does not know need be no vertices.
      if (!sample || sample.greatest === null || !entry.parents.length) return [];
      const greatest = data.unpack(sample.greatest, "<f4");
      const own = vertex < greatest.length ? [vertex] : ancestors(vertex, greatest.length, open.unpooling);
      if (!own.length) return [];
      const values = own.map((v) => greatest[v]);
      const value = values.some(Number.isNaN) ? NaN : Math.max(...values);
      return [{ index, label: entry.short, own, value, relative: entry.scale > 0 ? value / entry.scale : value }];
    });
  }

  function showPath(number, place, open, vertex) {
    const part = data.part(number);
    const steps = path(part, open, vertex);
    const [reference, candidate] = open.sides.map((points) => [...points.subarray(3 * vertex, 3 * vertex + 3)]);
    const words = (point) => (point.every(Number.isFinite) ? `(${point.map((value) => value.toPrecision(6)).join(", ")})`
      : "not finite, or beyond a million");
    const spike = open.spikes.map((found) => (found ? Boolean(found[vertex]) : null));
    place.replaceChildren(
      element("h4", { text: `Vertex ${vertex}` }),
      element("p", { text: `Reference ${words(reference)}, candidate ${words(candidate)}: `
        + `${open.distance[vertex].toPrecision(4)} ${part.mesh.unit} apart.`
        + (spike.some((found) => found) ? ` A spike in the ${spike[0] && spike[1] ? "reference and the candidate" : spike[0] ? "reference" : "candidate"}.` : "") }));
    if (!steps.length) return;
    const chart = element("div", { class: "plot" });
    place.append(chart, element("p", { class: "note", text:
      "Its greatest |Δ| in each layer over the layer's greatest magnitude; in layers of fewer vertices, that of the vertices it came from. Click a point for the layer." }));
    data.plot(chart, [{
      type: "scatter", mode: "lines+markers", x: steps.map((step) => step.label),
      y: steps.map((step) => step.relative), text: steps.map((step) => (step.own[0] === vertex ? "" : `from vertices ${step.own.join(", ")}`)),
      marker: { color: "#b83400", size: 5 }, line: { color: "#b83400", width: 1 },
      hovertemplate: "%{x}<br>%{y:.3e} %{text}<extra></extra>",
    }], { height: 260, margin: { l: 60, r: 12, t: 12, b: 110 },
      yaxis: { type: "log", exponentformat: "e" }, xaxis: { type: "category", tickangle: 60, tickfont: { size: 9 } } },
    { displayModeBar: false });
    chart.on("plotly_click", (event) => layers.show(number, steps[event.points[0].pointIndex].index, true));
    const positions = places(part, open, vertex);
    const table = element("table", {}, element("tbody", {}, ...positions.map(([label, r, c, index], step) => element("tr", {},
      element("th", { scope: "row", class: "name" },
        element("button", { type: "button", text: `${step + 1}. ${label}`, on: () => layers.show(number, index, true) })),
      ...[r, c].map((side) => element("td", { class: "number", text: words(side) }))))));
    if (positions.length) {
      place.append(element("div", { class: "wide" }, element("h4", { text: "Where it was, numbered as in the view: reference, candidate" }), table));
    }
  }

  function marks(points, chosen, scene, name, symbol, colour, size) {
    const at = (axis) => chosen.map((v) => points[3 * v + axis]);
    return { type: "scatter3d", mode: "markers", scene, name, x: at(0), y: at(1), z: at(2),
      customdata: chosen, text: chosen.map((v) => `vertex ${v}`), hovertemplate: `%{text}<extra>${name}</extra>`,
      marker: { symbol, color: colour, size } };
  }

  function draw(number, holder) {
    const part = data.part(number);
    const open = unpacked(part.mesh);
    const narrow = holder.clientWidth < 620;
    const axis = { visible: false, showspikes: false };
    const camera = { eye: { x: 0, y: 0, z: 1.7 }, up: { x: 0, y: 1, z: 0 }, projection: { type: "perspective" } };
    const scene = (domain) => ({ xaxis: axis, yaxis: axis, zaxis: axis, aspectmode: "data", camera, domain });
    const greatest = open.distance.reduce((most, value) => (value > most ? value : most), 0);
    const ids = Array.from(open.distance, (_, v) => v);
    const text = ids.map((v) => `vertex ${v}<br>${open.distance[v].toPrecision(3)} ${data.plain(part.mesh.unit)} apart`);
    const scenes = ["scene", "scene2"];
    const traces = [];
    open.sides.forEach((points, side) => {
      traces.push({ type: "mesh3d", scene: scenes[side], ...coordinates(points), ...triangles(open.faces, points),
        intensity: Array.from(open.distance), cmin: 0, cmax: greatest || 1, colorscale: DIFFERENCE, showscale: side === 1,
        colorbar: { title: { text: `apart, in ${data.plain(part.mesh.unit)}`, side: "right" }, thickness: 12, exponentformat: "e" },
        flatshading: true, lighting: { ambient: 0.72, diffuse: 0.5, specular: 0.05 }, lightposition: { x: 2000, y: 4000, z: 8000 }, text, customdata: ids,
        hovertemplate: `%{text}<extra>${["reference", "candidate"][side]}</extra>` });
    });
    open.sides.forEach((points, side) => {
      const marked = open.spikes[side] ? ids.filter((v) => open.spikes[side][v]) : [];
      traces.push(marks(points, marked, scenes[side], "spike", "diamond", "#0b57a4", 4));
    });
    open.sides.forEach((points, side) => traces.push(marks(points, [], scenes[side], "chosen", "circle", "#000", 6)));
    const ways = traces.length;
    scenes.forEach((scene) => traces.push({ type: "scatter3d", mode: "lines+markers", scene, name: "way", x: [], y: [], z: [],
      line: { color: "#0b57a4", width: 4 }, marker: { color: "#0b57a4", size: 3 }, hovertemplate: "step %{text} of its way<extra></extra>" }));

    const place = element("div", { class: "plot scenes", role: "application", tabindex: "0",
      "aria-label": "Reference and candidate mesh in 3D, coloured by their distance: arrow keys turn them, plus and minus zoom, "
        + "n and p go through the vertices from the farthest apart on, s through the spikes" });
    place.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.altKey || event.metaKey ? undefined : KEYS[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    const trail = element("div", { class: "path", "aria-live": "polite" });
    // Labels of a scene lie above everything in it: no part of the mesh can hide the vertex.
    const note = ([x, y, z], text, strong) => ({ x, y, z, text, showarrow: true, arrowhead: strong ? 6 : 0, arrowsize: 1,
      arrowwidth: strong ? 2 : 1, arrowcolor: strong ? "#000" : "#0b57a4", ax: strong ? 28 : 9, ay: strong ? -34 : -9,
      font: { size: strong ? 12 : 10, color: strong ? "#000" : "#0b57a4" }, bgcolor: "rgba(255, 255, 255, 0.85)",
      bordercolor: strong ? "#000" : "rgba(0, 0, 0, 0)", borderpad: 2 });
    let chosen = null;
    const pick = (vertex, turn) => {
      chosen = vertex;
      const way = places(part, open, vertex);
      const labels = {};
      open.sides.forEach((points, side) => {
        const at = (a) => [[points[3 * vertex + a]]];
        Plotly.restyle(place, { x: at(0), y: at(1), z: at(2), customdata: [[vertex]], text: [[`vertex ${vertex}`]] }, [4 + side]);
        const line = (a) => [way.map((step) => step[1 + side][a])];
        Plotly.restyle(place, { x: line(0), y: line(1), z: line(2), text: [way.map((_, step) => step + 1)] }, [ways + side]);
        const here = [...points.subarray(3 * vertex, 3 * vertex + 3)];
        labels[`${scenes[side]}.annotations`] = here.every(Number.isFinite)
          ? [...way.slice(0, -1).map((step, place) => note(step[1 + side], String(place + 1), false)), note(here, `vertex ${vertex}`, true)] : [];
      });
      Plotly.relayout(place, labels);
      if (turn) turnTo(vertex);
      input.value = vertex;
      showPath(number, trail, open, vertex);
    };
    // Look at a vertex from outside: along the line from the middle of the mesh to it.
    const turnTo = (vertex) => {
      const [points] = open.sides;
      const middle = [0, 1, 2].map((axis) => {
        const along = ids.map((v) => points[3 * v + axis]).filter(Number.isFinite);
        return along.reduce((low, value) => Math.min(low, value), Infinity) / 2 + along.reduce((high, value) => Math.max(high, value), -Infinity) / 2;
      });
      const out = middle.map((value, axis) => points[3 * vertex + axis] - value);
      const length = Math.hypot(...out);
      if (!(length > 0)) return;
      const [x, y, z] = out.map((value) => (1.7 * value) / length);
      // Straight above there is no up.
      view(Math.hypot(x, z) < 0.1 ? { x, y, z: z + 0.1 } : { x, y, z })();
    };
    const input = element("input", { type: "number", min: "0", max: String(ids.length - 1), step: "1" });
    const go = () => {
      const vertex = Number(input.value);
      if (input.value !== "" && Number.isInteger(vertex) && vertex >= 0 && vertex < ids.length) pick(vertex, true);
    };
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
    const view = (eye, up = { x: 0, y: 1, z: 0 }) => () => Plotly.relayout(place, Object.fromEntries(
      scenes.map((name) => [`${name}.camera`, { ...camera, eye, up }])));
    const far = (v) => (Number.isNaN(open.distance[v]) ? Infinity : open.distance[v]);
    const ranked = [...ids].sort((a, b) => far(b) - far(a) || a - b);
    const spiky = ranked.filter((v) => open.spikes.some((found) => found && found[v]));
    const among = (list, step) => () => {
      if (!list.length) return;
      const at = list.indexOf(chosen);
      pick(list[at < 0 ? 0 : (at + step + list.length) % list.length], true);
    };
    const next = among(ranked, 1);
    const turned = (about, up) => {
      const { eye } = place._fullLayout.scene._scene.getCamera();
      const radius = Math.hypot(eye.x, eye.y, eye.z);
      const height = Math.max(-1.45, Math.min(1.45, Math.asin(eye.y / radius) + up));
      const round = Math.atan2(eye.x, eye.z) + about;
      view({ x: radius * Math.cos(height) * Math.sin(round), y: radius * Math.sin(height), z: radius * Math.cos(height) * Math.cos(round) })();
    };
    const zoomed = (factor) => {
      const { eye, up } = place._fullLayout.scene._scene.getCamera();
      view({ x: eye.x * factor, y: eye.y * factor, z: eye.z * factor }, up)();
    };
    const KEYS = { ArrowLeft: () => turned(-0.2, 0), ArrowRight: () => turned(0.2, 0), ArrowUp: () => turned(0, 0.2),
      ArrowDown: () => turned(0, -0.2), "+": () => zoomed(0.87), "-": () => zoomed(1.15), n: next, p: among(ranked, -1), s: among(spiky, 1) };
    const colours = element("button", { type: "button", text: "Difference as colour", "aria-pressed": "true" });
    colours.addEventListener("click", () => {
      const on = colours.getAttribute("aria-pressed") !== "true";
      colours.setAttribute("aria-pressed", String(on));
      const intensity = on ? Array.from(open.distance) : ids.map(() => 0);
      Plotly.restyle(place, { intensity: [intensity, intensity] }, [0, 1]);
    });
    // What cannot be drawn is said, or an empty view would look like a fault of the page.
    const lost = open.sides.map((points, side) => {
      const count = ids.filter((v) => ![0, 1, 2].every((axis) => Number.isFinite(points[3 * v + axis]))).length;
      return count ? ` ${count} of ${ids.length} vertices of the ${["reference", "candidate"][side]} are not finite or beyond a million, and not drawn.` : "";
    });
    const seeThrough = element("button", { type: "button", class: "through", text: "See through", "aria-pressed": "false" });
    seeThrough.addEventListener("click", () => {
      const on = seeThrough.getAttribute("aria-pressed") !== "true";
      seeThrough.setAttribute("aria-pressed", String(on));
      Plotly.restyle(place, { opacity: on ? 0.35 : 1 }, [0, 1]);
    });
    holder.append(
      element("p", { text: `Reference (${part.sides[0]}) ${narrow ? "above" : "left"}, candidate (${part.sides[1]}) `
        + `${narrow ? "below" : "right"}; both turn together. Click a vertex, or name one, for its way through the layers.`
        + (open.spikes.some(Boolean) ? " Blue diamonds are spikes." : "") + lost.join("") }),
      element("div", { class: "controls" },
        element("button", { type: "button", text: "Front (view 0)", on: view({ x: 0, y: 0, z: 1.7 }) }),
        element("button", { type: "button", text: "Side", on: view({ x: 1.7, y: 0, z: 0 }) }),
        element("button", { type: "button", text: "Above", on: view({ x: 0, y: 1.7, z: 0.01 }) }),
        element("button", { type: "button", text: "Back", on: view({ x: 0, y: 0, z: -1.7 }) }),
        colours,
        element("label", {}, "Vertex ", input),
        element("button", { type: "button", text: "Show", on: go }),
        element("button", { type: "button", class: "farthest", text: "Farthest apart", on: () => pick(ranked[0], true) }),
        element("button", { type: "button", class: "next", text: "Next", on: next }),
        ...(spiky.length ? [element("button", { type: "button", class: "spike", text: "Next spike", on: among(spiky, 1) })] : []),
        seeThrough),
      element("p", { class: "note", text: "With the view chosen by Tab: arrow keys turn it, + and − zoom, n and p go through the "
        + "vertices from the farthest apart on, s through the spikes." }),
      place, trail);
    const layout = narrow
      ? { scene: scene({ x: [0, 1], y: [0.51, 1] }), scene2: scene({ x: [0, 1], y: [0, 0.49] }), height: 680 }
      : { scene: scene({ x: [0, 0.49], y: [0, 1] }), scene2: scene({ x: [0.5, 1], y: [0, 1] }), height: 440 };
    data.plot(place, traces, { ...layout, showlegend: false, margin: { l: 0, r: 0, t: 0, b: 0 } }, { scrollZoom: false });
    let following = false;
    const follow = (event) => {
      if (following) return;
      scenes.forEach((name, side) => {
        const moved = event[`${name}.camera`];
        if (!moved) return;
        following = true;
        Plotly.relayout(place, { [`${scenes[1 - side]}.camera`]: moved }).then(() => { following = false; });
      });
    };
    place.on("plotly_relayout", follow);
    place.on("plotly_relayouting", follow);
    place.on("plotly_click", (event) => {
      const point = event.points[0];
      const vertex = point.customdata ?? point.pointNumber;
      if (Number.isInteger(vertex)) pick(vertex);
    });
  }

  return {
    start(section) {
      const holder = section.querySelector(".meshes");
      const number = Number(section.dataset.part);
      const part = data.part(number);
      if (!holder || holder.childElementCount || !part || !part.mesh) return;
      try {
        draw(number, holder);
        // The pictures say the same to whoever prints, or has no WebGL.
        section.querySelector("details.renderings")?.removeAttribute("open");
      } catch (error) {
        holder.replaceChildren(element("p", { text: `The meshes cannot be drawn in 3D here (${error.message}).` }));
      }
    },
  };
})();
