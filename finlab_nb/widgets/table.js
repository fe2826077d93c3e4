// Draws one page of the table that table.py sends. Text from the database only ever becomes text nodes.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function toggled(selected, id) {
  return selected.includes(id) ? selected.filter((other) => other !== id) : [...selected, id];
}

function render({ model, el }) {
  const table = element("table", {
    class: "finlab-nb-grid",
    role: "grid",
    "aria-label": "Iterations",
    "aria-multiselectable": "true",
  });
  const scroll = element("div", { class: "finlab-nb-scroll" }, table);
  const pager = element("div", { class: "finlab-nb-pager" });
  // JupyterLab would take arrows, Enter and Space as shortcuts of the notebook.
  const root = element("div", { class: "finlab-nb-table", "data-lm-suppress-shortcuts": "true" }, scroll, pager);
  el.append(root);
  let current = null; // the row that Tab comes back to
  let anchor = null; // where a Shift-click range starts

  const set = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const rows = () => Array.from(table.tBodies[0]?.rows ?? []).filter((row) => row.dataset.id);
  const select = (ids) => set({ selected: ids });

  function extend(id) {
    const ids = rows().map((row) => row.dataset.id);
    const [from, to] = [ids.indexOf(anchor), ids.indexOf(id)];
    if (from < 0) return select([id]);
    const range = ids.slice(Math.min(from, to), Math.max(from, to) + 1);
    select([...new Set([...model.get("selected"), ...range])]);
  }

  function pick(id, { several, range }) {
    const selected = model.get("selected");
    if (range) extend(id);
    else if (several) select(toggled(selected, id));
    else select(selected.length === 1 && selected[0] === id ? [] : [id]);
    if (!range) anchor = id;
    makeCurrent(id, false);
  }

  function makeCurrent(id, focus) {
    current = id;
    for (const row of rows()) {
      row.tabIndex = row.dataset.id === id ? 0 : -1;
      if (focus && row.dataset.id === id) row.focus();
    }
  }

  function heading(column) {
    const sorted = model.get("sort_by") === column.key;
    const descending = model.get("descending");
    const arrow = element("span", { class: "finlab-nb-arrow", "aria-hidden": "true" }, sorted ? (descending ? "▼" : "▲") : "");
    const label = column.kind === "star" ? "★" : column.label;
    const button = element("button", { type: "button", title: `Sort by ${column.label}`, "data-focus": `sort:${column.key}` }, label, arrow);
    if (column.kind === "star") button.setAttribute("aria-label", column.label);
    // Numbers are most of the time wanted best first, text from A.
    const first = column.kind !== "text";
    button.addEventListener("click", () => set({ sort_by: column.key, descending: sorted ? !descending : first }));
    return element("th", { scope: "col", class: column.kind, "aria-sort": sorted ? (descending ? "descending" : "ascending") : "none" }, button);
  }

  function star(row, on) {
    if (!model.get("editable")) return on ? element("span", { role: "img", "aria-label": "starred" }, "★") : "";
    const button = element("button", { type: "button", tabindex: "-1", "aria-pressed": String(on), "aria-label": `Star ${row.name}`, title: on ? "Remove the star" : "Star" }, on ? "★" : "☆");
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      model.send({ event: "star", id: row.id });
    });
    return button;
  }

  function bodyRow(row, columns) {
    const box = element("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${row.name}` });
    const line = element("tr", { "data-id": row.id, tabindex: "-1" }, element("td", { class: "check" }, box));
    columns.forEach((column, place) => {
      const value = row.cells[place];
      const cell = element("td", { class: column.kind }, column.kind === "star" ? star(row, value) : value);
      if (column.kind === "text" && value) cell.title = value;
      line.append(cell);
    });
    line.addEventListener("click", (event) => {
      const several = event.ctrlKey || event.metaKey || event.target.closest("td.check") !== null;
      pick(row.id, { several, range: event.shiftKey });
    });
    // A Shift-click selects rows, not text.
    line.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault());
    return line;
  }

  function pageButton(label, name, target, enabled) {
    const button = element("button", { type: "button", "aria-label": name, title: name, "data-focus": name }, label);
    button.disabled = !enabled;
    button.addEventListener("click", () => set({ page: target }));
    return button;
  }

  function drawPager(view) {
    const [page, last] = [model.get("page"), view.page_count - 1];
    const number = (value) => value.toLocaleString("en");
    const range = view.row_count ? `${number(view.first + 1)}–${number(view.first + view.rows.length)} of ${number(view.row_count)}` : "";
    const size = element("select", { "aria-label": "Rows on a page", "data-focus": "size" });
    for (const option of [...new Set([15, 50, 200, model.get("page_size")])].sort((a, b) => a - b)) {
      size.append(new Option(`${option} rows`, option, false, option === model.get("page_size")));
    }
    size.addEventListener("change", () => set({ page_size: Number(size.value), page: 0 }));
    pager.replaceChildren(
      element("span", { class: "finlab-nb-range", "aria-live": "polite" }, range),
      pageButton("«", "First page", 0, page > 0),
      pageButton("‹", "Previous page", page - 1, page > 0),
      pageButton("›", "Next page", page + 1, page < last),
      pageButton("»", "Last page", last, page < last),
      size,
    );
    pager.hidden = view.row_count === 0;
  }

  function draw() {
    const view = model.get("view");
    if (!view.columns) return;
    const active = root.contains(document.activeElement) ? document.activeElement : null;
    const control = active?.dataset.focus;
    const inRow = active?.closest("tr[data-id]") !== null && active !== null;
    const check = element("th", { scope: "col", class: "check" }, element("span", { class: "finlab-nb-spoken" }, "Selected"));
    const head = element("thead", {}, element("tr", {}, check, ...view.columns.map(heading)));
    const body = element("tbody", {}, ...view.rows.map((row) => bodyRow(row, view.columns)));
    if (!view.rows.length) {
      const message = element("td", { colspan: String(view.columns.length + 1), class: "finlab-nb-empty" }, view.empty);
      body.append(element("tr", {}, message));
    }
    table.replaceChildren(head, body);
    drawPager(view);
    mark();
    const ids = view.rows.map((row) => row.id);
    const chosen = model.get("selected").find((id) => ids.includes(id));
    makeCurrent(ids.includes(current) ? current : (chosen ?? ids[0]), inRow);
    if (control) {
      const again = root.querySelector(`[data-focus="${CSS.escape(control)}"]`);
      (again?.disabled ? root.querySelector('.finlab-nb-pager select') : again)?.focus();
    }
  }

  function mark() {
    const selected = new Set(model.get("selected"));
    for (const row of rows()) {
      const on = selected.has(row.dataset.id);
      row.setAttribute("aria-selected", String(on));
      row.querySelector("input").checked = on;
    }
  }

  function onKey(event) {
    const row = event.target.closest?.("tr[data-id]");
    if (!row || event.altKey) return;
    const all = rows();
    const place = all.indexOf(row);
    const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: all.length - 1 };
    const [page, last] = [model.get("page"), model.get("view").page_count - 1];
    if (event.key in moves) {
      const target = all[Math.max(0, Math.min(all.length - 1, moves[event.key]))];
      makeCurrent(target.dataset.id, true);
      if (event.shiftKey) extend(target.dataset.id);
    } else if (event.key === " ") {
      pick(row.dataset.id, { several: true, range: event.shiftKey });
    } else if (event.key === "Enter") {
      pick(row.dataset.id, { several: event.ctrlKey || event.metaKey, range: event.shiftKey });
    } else if (event.key === "PageDown" && page < last) {
      set({ page: page + 1 });
    } else if (event.key === "PageUp" && page > 0) {
      set({ page: page - 1 });
    } else if (event.key === "Escape") {
      select([]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  table.addEventListener("keydown", onKey);
  model.on("change:view", draw);
  model.on("change:editable", draw);
  model.on("change:selected", mark);
  draw();
  return () => {
    model.off("change:view", draw);
    model.off("change:editable", draw);
    model.off("change:selected", mark);
  };
}

export default { render };
