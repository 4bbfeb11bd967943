// Tables: sorting by a column, filtering by words. The numbers that a cell stands for, with all
// their digits, are in data-value; what it shows is shorter.
const tables = (() => {
  const number = (text) => ({ NaN: NaN, inf: Infinity, "-inf": -Infinity }[text] ?? Number(text));

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (text === "" || text === "—" || text === "identical") {
      return cell.dataset.value === undefined && text === "identical" ? 0 : null;
    }
    const value = number(text);
    // Not a number on one side is the worst of differences.
    if (text === "NaN") return Infinity;
    return Number.isNaN(value) ? text.toLowerCase() : value;
  }

  function compare(a, b) {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  }

  function sort(table, column, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row, column) }));
    rows.sort((a, b) => {
      // What has no value stays below, either way.
      if (a.key === null || b.key === null) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      return (descending ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    });
    body.append(...rows.map((entry) => entry.row));
  }

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.title = "Sort by this column";
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  }

  function filter(box) {
    const table = box.nextElementSibling.querySelector("table");
    const input = box.querySelector("input");
    const count = box.querySelector(".count");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} shown` : "";
    });
  }

  return {
    start() {
      document.querySelectorAll("table.sortable").forEach(sortable);
      document.querySelectorAll(".filter").forEach(filter);
    },
  };
})();
