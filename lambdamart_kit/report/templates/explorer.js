"use strict";
(async () => {
  const STEP = 20;
  const MINUS = "\u2212";
  const root = document.getElementById("explorer");
  if (!root) return;

  // Texts reach the page as text only: no name of a query or document is ever read as markup.
  const make = (tag, settings = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(settings)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  };

  const unpack = async (id) => {
    const text = JSON.parse(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  let data;
  try {
    data = await unpack("queries-data");
  } catch (error) {
    root.append(make("p", {}, "This browser cannot unpack the queries of this page; a newer one can."));
    return;
  }

  const fixed = (value, digits = 4) => (value === null ? "blank" : value.toFixed(digits).replace("-", MINUS));
  const signed = (value, digits = 4) => (value === null ? "" : (value > 0 ? "+" : "") + fixed(value, digits));
  const docs = data.documents;
  const nQueries = data.queries.id.length;
  const starts = [0];
  data.queries.size.forEach((size, q) => starts.push(starts[q] + size));
  const relevant = data.queries.size.map((size, q) => {
    let n = 0;
    for (let d = starts[q]; d < starts[q + 1]; d++) n += docs.label[d] > 0;
    return n;
  });
  const orders = [...data.models, data.ideal];
  const ranksOf = (m) => (m === data.models.length ? docs.ideal : docs.ranks[m]);
  const valueOf = (m, q) => {
    if (m < data.models.length) return data.queries.values[m][q];
    return data.queries.values[0][q] === null ? null : 1;
  };
  const why = new Map();
  if (data.why) data.why.document.forEach((d, j) => why.set(d, j));

  const first = data.models.findIndex((name) => name !== data.baseline);
  const state = { a: first, b: orders.indexOf(data.baseline), text: "", kind: "all", key: "change", up: true, shown: STEP };

  const change = (q) => {
    const left = valueOf(state.a, q);
    const right = valueOf(state.b, q);
    return left === null || right === null ? null : left - right;
  };
  const keys = {
    query: (q) => data.queries.id[q],
    documents: (q) => data.queries.size[q],
    relevant: (q) => relevant[q],
    a: (q) => valueOf(state.a, q),
    b: (q) => valueOf(state.b, q),
    change,
  };

  // Blank queries come last in either direction; ties keep the order of the file.
  const compare = (left, right) => {
    const x = keys[state.key](left);
    const y = keys[state.key](right);
    if (x === null || y === null) return (x === null) - (y === null) || left - right;
    const by = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return (state.up ? by : -by) || left - right;
  };
  const kinds = {
    all: () => true,
    worse: (q) => change(q) !== null && change(q) < 0,
    better: (q) => change(q) !== null && change(q) > 0,
    blank: (q) => valueOf(state.a, q) === null,
  };
  const chosen = () => {
    const wanted = state.text.toLowerCase();
    const found = [];
    for (let q = 0; q < nQueries; q++) {
      if (data.queries.id[q].toLowerCase().includes(wanted) && kinds[state.kind](q)) found.push(q);
    }
    return found.sort(compare);
  };

  const count = make("p", { "aria-live": "polite", class: "muted" });
  const list = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of queries" });
  const more = make("button", { class: "more", onclick: () => { state.shown += STEP; draw(); } }, `Show ${STEP} more`);
  const detail = make("div", {});
  const overview = make("div", {});

  const heading = (key, title, numeric) => {
    const sorted = state.key === key ? (state.up ? "ascending" : "descending") : "none";
    const arrow = sorted === "none" ? "" : state.up ? " \u25b2" : " \u25bc";
    const press = () => {
      if (state.key === key) state.up = !state.up;
      else Object.assign(state, { key, up: key === "query" || key === "change" });
      draw();
      list.querySelector(`[data-key="${key}"]`).focus();
    };
    return make("th", { scope: "col", "aria-sort": sorted, class: numeric ? "number" : null },
      make("button", { class: "plain", onclick: press, "data-key": key }, title + arrow));
  };

  const draw = () => {
    const found = chosen();
    count.textContent = `${found.length.toLocaleString("en")} of ${nQueries.toLocaleString("en")} queries`;
    const head = make("tr", {}, heading("query", "query"), heading("documents", "documents", true),
      heading("relevant", "relevant", true), heading("a", orders[state.a], true),
      heading("b", orders[state.b], true), heading("change", "difference", true));
    const body = found.slice(0, state.shown).map((q) => {
      const by = change(q);
      const open = make("button", { class: "plain", "data-query": q, onclick: () => show(q) }, data.queries.id[q]);
      return make("tr", {}, make("th", { scope: "row", class: "name-cell" }, open),
        make("td", { class: "number" }, String(data.queries.size[q])),
        make("td", { class: "number" }, String(relevant[q])),
        make("td", { class: "number" }, fixed(valueOf(state.a, q))),
        make("td", { class: "number" }, fixed(valueOf(state.b, q))),
        make("td", { class: "number " + (by > 0 ? "up" : by < 0 ? "down" : "") }, signed(by)));
    });
    const caption = make("caption", { class: "hidden" }, `Queries with their ${data.metric}`);
    list.replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...body)));
    more.hidden = found.length <= state.shown;
  };

  const reasons = (d, m) => {
    if (!data.why || data.models[m] !== data.why.model || !why.has(d)) return null;
    const j = why.get(d);
    const texts = data.why.feature[j].map((f, n) => `${data.why.features[f]} ${signed(data.why.value[j][n], 3)}`);
    return texts.join(", ");
  };

  // One model's order of a query, with how far each document stands from its place in the other order.
  const ordered = (q, here, there) => {
    const mine = ranksOf(here);
    const theirs = ranksOf(there);
    const rows = [];
    for (let d = starts[q]; d < starts[q + 1]; d++) rows.push(d);
    rows.sort((x, y) => mine[x] - mine[y] || x - y);
    const tied = new Map();
    rows.forEach((d) => tied.set(mine[d], (tied.get(mine[d]) || 0) + 1));
    const scored = here < data.models.length;
    const titles = ["rank", "moved", "document", "label", ...(scored ? ["score"] : [])];
    const body = rows.map((d) => {
      const moved = theirs[d] - mine[d];
      const arrow = moved > 0 ? `\u25b2 ${moved}` : moved < 0 ? `\u25bc ${-moved}` : "\u2013";
      const said = moved > 0 ? `${moved} places higher` : moved < 0 ? `${-moved} places lower` : "same place";
      const name = docs.id ? docs.id[d] : `row ${d - starts[q] + 1}`;
      const because = reasons(d, here);
      return make("tr", {},
        make("th", { scope: "row", class: "number" }, mine[d] + (tied.get(mine[d]) > 1 ? "=" : "")),
        make("td", { class: "number " + (moved > 0 ? "up" : moved < 0 ? "down" : "") },
          make("span", { "aria-hidden": "true" }, arrow), make("span", { class: "hidden" }, said)),
        make("td", { class: "name-cell" }, name, ...(because ? [make("div", { class: "why" }, because)] : [])),
        make("td", { class: "number" }, String(docs.label[d])),
        ...(scored ? [make("td", { class: "number" }, String(docs.scores[here][d]).replace("-", MINUS))] : []));
    });
    const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col", class: title === "document" ? null : "number" }, title)));
    const title = scored ? `Order of ${orders[here]}` : "Order of the labels";
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      make("table", {}, make("caption", {}, title), make("thead", {}, head), make("tbody", {}, ...body)));
  };

  const show = (q) => {
    const title = make("h3", { tabindex: "-1" }, `Query ${data.queries.id[q]}`);
    const back = make("button", { onclick: () => close(q) }, "Back to the queries");
    const values = `${data.metric}: ${fixed(valueOf(state.a, q))} with ${orders[state.a]}, ` +
      `${fixed(valueOf(state.b, q))} with ${orders[state.b]}. ` +
      "An arrow says by how many places a document stands higher or lower than in the other order. " +
      "Ranks with = are shared by documents with equal scores.";
    const parts = [title, make("p", { class: "muted" }, values), back,
      make("div", { class: "lists" }, ordered(q, state.a, state.b), ordered(q, state.b, state.a))];
    if (data.why) {
      parts.push(make("p", { class: "muted" },
        `Below a document stand the features that move its score by ${data.why.model} most, and by how much.`));
    }
    detail.replaceChildren(...parts);
    overview.hidden = true;
    title.focus();
    title.scrollIntoView({ block: "start" });
  };
  const close = (q) => {
    detail.replaceChildren();
    overview.hidden = false;
    const button = list.querySelector(`[data-query="${q}"]`);
    if (button) button.focus();
  };

  const select = (label, names, value, pick) => {
    const box = make("select", { onchange: (event) => { pick(event.target.value); state.shown = STEP; draw(); } },
      ...names.map(([key, name]) => make("option", { value: key, selected: key === String(value) }, name)));
    return make("label", {}, label, box);
  };
  const search = make("input", { type: "search", oninput: (event) => { state.text = event.target.value; state.shown = STEP; draw(); } });
  const named = orders.map((name, m) => [String(m), name]);
  overview.append(
    make("div", { class: "controls" }, make("label", {}, "Find a query", search),
      select("Show", [["all", "all queries"], ["worse", "worse ones"], ["better", "better ones"], ["blank", "blank ones"]],
        state.kind, (value) => { state.kind = value; }),
      select("Model", named.slice(0, -1), state.a, (value) => { state.a = Number(value); }),
      select("Compared with", named, state.b, (value) => { state.b = Number(value); })),
    count, list, more);
  root.append(overview, detail);
  draw();
})();
