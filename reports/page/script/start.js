// Several comparisons are shown one at a time; what is costly is drawn when it is first looked at.
(() => {
  const sections = [...document.querySelectorAll("section.part")];
  const begun = new Set();

  function begin(section) {
    if (begun.has(section)) return;
    begun.add(section);
    layers.start(section);
    layers.first(Number(section.dataset.part));
    const holder = section.querySelector(".meshes");
    if (!holder) return;
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      meshes.start(section);
    }, { rootMargin: "200px" });
    seen.observe(holder);
  }

  function choose(chosen) {
    for (const section of sections) section.hidden = section !== chosen;
    document.querySelectorAll("[role=tab]").forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(sections[place] === chosen));
      tab.tabIndex = sections[place] === chosen ? 0 : -1;
    });
    begin(chosen);
  }

  function tabs(list) {
    for (const section of sections) {
      list.append(data.element("button", { type: "button", role: "tab", text: section.dataset.label,
        on: () => choose(section) }));
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const all = [...list.children];
      const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
      next.focus();
      next.click();
    });
    document.querySelectorAll("table.parts tbody a[href^='#part-']").forEach((link) => {
      link.addEventListener("click", () => {
        choose(sections.find((section) => `#part-${section.dataset.part}` === link.getAttribute("href")));
      });
    });
  }

  // 3D views do not print; the pictures do.
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details.renderings").forEach((found) => { found.open = true; });
  });
  tables.start();
  const list = document.querySelector(".tabs");
  if (list && sections.length) tabs(list);
  const worst = sections.find((section) => section.querySelector(".diverges")) ?? sections[0];
  if (worst) choose(worst);
})();
