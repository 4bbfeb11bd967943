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
    const words = (point) => `(${point.map((value) => value.toPrecision(6)).join(", ")})`;
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
    const positions = Object.entries(part.mesh.positions).flatMap(([index, sides]) => {
      const [r, c] = sides.map((text) => data.unpack(text, "<f4"));
      return 3 * vertex < r.length ? [[part.entries[index].label, r, c]] : [];
    });
    const table = element("table", {}, element("tbody", {}, ...positions.map(([label, r, c]) => element("tr", {},
      element("th", { scope: "row", class: "name", text: label }),
      ...[r, c].map((side) => element("td", { class: "number", text: words([...side.subarray(3 * vertex, 3 * vertex + 3)]) }))))));
    if (positions.length) {
      place.append(element("div", { class: "wide" }, element("h4", { text: "Where it was: reference, candidate" }), table));
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
      const spiky = open.spikes[side] ? ids.filter((v) => open.spikes[side][v]) : [];
      traces.push(marks(points, spiky, scenes[side], "spike", "diamond", "#0b57a4", 4));
    });
    open.sides.forEach((points, side) => traces.push(marks(points, [], scenes[side], "chosen", "circle", "#000", 6)));

    const place = element("div", { class: "plot scenes", role: "img",
      "aria-label": "Reference and candidate mesh in 3D, coloured by their distance" });
    const trail = element("div", { class: "path", "aria-live": "polite" });
    const pick = (vertex) => {
      open.sides.forEach((points, side) => {
        const at = (a) => [[points[3 * vertex + a]]];
        Plotly.restyle(place, { x: at(0), y: at(1), z: at(2), customdata: [[vertex]], text: [[`vertex ${vertex}`]] }, [4 + side]);
      });
      input.value = vertex;
      showPath(number, trail, open, vertex);
    };
    const input = element("input", { type: "number", min: "0", max: String(ids.length - 1), step: "1" });
    const go = () => {
      const vertex = Number(input.value);
      if (input.value !== "" && Number.isInteger(vertex) && vertex >= 0 && vertex < ids.length) pick(vertex);
    };
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
    const view = (eye, up = { x: 0, y: 1, z: 0 }) => () => Plotly.relayout(place, Object.fromEntries(
      scenes.map((name) => [`${name}.camera`, { ...camera, eye, up }])));
    const farthest = open.distance.indexOf(greatest);
    const colours = element("button", { type: "button", text: "Difference as colour", "aria-pressed": "true" });
    colours.addEventListener("click", () => {
      const on = colours.getAttribute("aria-pressed") !== "true";
      colours.setAttribute("aria-pressed", String(on));
      const intensity = on ? Array.from(open.distance) : ids.map(() => 0);
      Plotly.restyle(place, { intensity: [intensity, intensity] }, [0, 1]);
    });
    holder.append(
      element("p", { text: `Reference (${part.sides[0]}) ${narrow ? "above" : "left"}, candidate (${part.sides[1]}) `
        + `${narrow ? "below" : "right"}; both turn together. Click a vertex, or name one, for its way through the layers.`
        + (open.spikes.some(Boolean) ? " Blue diamonds are spikes." : "") }),
      element("div", { class: "controls" },
        element("button", { type: "button", text: "Front (view 0)", on: view({ x: 0, y: 0, z: 1.7 }) }),
        element("button", { type: "button", text: "Side", on: view({ x: 1.7, y: 0, z: 0 }) }),
        element("button", { type: "button", text: "Above", on: view({ x: 0, y: 1.7, z: 0.01 }) }),
        element("button", { type: "button", text: "Back", on: view({ x: 0, y: 0, z: -1.7 }) }),
        colours,
        element("label", {}, "Vertex ", input),
        element("button", { type: "button", text: "Show", on: go }),
        element("button", { type: "button", class: "farthest", text: "Farthest apart", on: () => pick(farthest) })),
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
