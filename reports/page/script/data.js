// The data of each comparison, unpacked when it is first asked for, and small helpers.
const data = (() => {
  const parts = new Map();
  const kinds = { "<f4": Float32Array, "<i4": Int32Array, u1: Uint8Array };

  function bytes(text) {
    const plain = atob(text);
    const found = new Uint8Array(plain.length);
    for (let i = 0; i < plain.length; i += 1) found[i] = plain.charCodeAt(i);
    return found;
  }

  return {
    part(number) {
      if (!parts.has(number)) {
        const source = document.getElementById(`data-${number}`);
        parts.set(number, source ? JSON.parse(source.textContent) : null);
      }
      return parts.get(number);
    },
    // Every machine that shows this page is little-endian, as the numbers are.
    unpack: (text, kind) => new kinds[kind](bytes(text).buffer),
    // A picture's rows of values from its shades, null where it is not finite.
    picture({ low, high, shades }, [height, width]) {
      const levels = bytes(shades);
      const value = (level) => (level === 255 ? null : low + ((high - low) * level) / 254);
      return Array.from({ length: height }, (_, y) =>
        Array.from(levels.subarray(y * width, (y + 1) * width), value));
    },
    // A picture's rows of powers of ten, null for nothing and for what is not finite.
    logarithms({ top, octave, levels }, [height, width]) {
      const found = bytes(levels);
      const value = (level) => (level === 0 || level === 255
        ? null : Math.log10(top) + ((level - 254) / octave) * Math.LOG10E * Math.LN2);
      return Array.from({ length: height }, (_, y) =>
        Array.from(found.subarray(y * width, (y + 1) * width), value));
    },
    // A number with all its digits, small and great ones by exponent.
    exact(value) {
      const size = Math.abs(value);
      if (Number.isInteger(value) && size < 1e15) return String(value);
      return size >= 1e-3 && size < 1e7 ? String(value) : value.toExponential();
    },
    // An element with text and children; text never becomes markup.
    element(tag, properties = {}, ...children) {
      const found = document.createElement(tag);
      for (const [name, value] of Object.entries(properties)) {
        if (name === "text") found.textContent = value;
        else if (name === "on") found.addEventListener("click", value);
        else found.setAttribute(name, value);
      }
      found.append(...children);
      return found;
    },
    // Names are text; the plotting library takes some tags as markup.
    plain: (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"),
    plot(place, traces, layout, options = {}) {
      return Plotly.newPlot(place, traces, {
        margin: { l: 52, r: 12, t: 26, b: 40 },
        font: { family: "system-ui, sans-serif", size: 11, color: "#1c2126" },
        paper_bgcolor: "#fff",
        plot_bgcolor: "#fff",
        ...layout,
      }, { displaylogo: false, responsive: true, ...options });
    },
  };
})();
