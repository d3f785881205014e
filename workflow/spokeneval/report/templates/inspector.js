"use strict";
(() => {
  const place = document.getElementById("inspect-data");
  if (!place) return;
  const data = JSON.parse(place.textContent);
  const $ = (id) => document.getElementById(id);
  const ROWS = 50;
  const NOTHING = -32768;
  const WRONG = -32767;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  for (const column of data.columns) {
    const raw = bytes(column.values);
    column.values = new Int16Array(raw.buffer, 0, raw.length / 2);
  }
  const all = data.ids.map((_, k) => k);
  const keys = new Map(all.map((k) => [`${data.tasks[data.task[k]]}/${data.ids[k]}`, k]));
  const text = all.map((k) => `${data.ids[k]} ${data.cluster[k] || ""} ${data.labels[k]}`.toLowerCase());
  const link = (k) => `#item=${encodeURIComponent(data.tasks[data.task[k]])}/${encodeURIComponent(data.ids[k])}`;
  const make = (name, words, attributes = {}) => {
    const element = document.createElement(name);
    if (words !== undefined) element.textContent = words;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const shownMeasures = ["right", "judge", "models", "evaluators"];
  if ([...$("inspect-sort").options].some((option) => option.value === "people")) shownMeasures.push("people");
  const percent = (value) => (value === null ? "-" : String(Math.round(100 * value)));

  // ---- the list
  let from = 0;
  const sorted = () => {
    const words = $("inspect-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const task = $("inspect-task").value;
    const kept = all.filter(
      (k) =>
        (task === "" || String(data.task[k]) === task) &&
        words.every((word) => text[k].includes(word)) &&
        (!$("inspect-noted").checked || data.notes[k]) &&
        (!$("inspect-heard").checked || data.place[k] !== undefined),
    );
    const by = $("inspect-sort").value;
    const low = (value) => (value === null ? -1 : value);
    const high = (value) => (value === null ? 2 : value);
    if (by === "id") return kept;
    const order =
      by === "wrong"
        ? (a, b) => high(data.measures.right[a]) - high(data.measures.right[b])
        : (a, b) => low(data.measures[by][b]) - low(data.measures[by][a]);
    return kept.sort((a, b) => order(a, b) || a - b);
  };
  const list = () => {
    const found = sorted();
    from = Math.min(from, Math.max(0, Math.floor((found.length - 1) / ROWS) * ROWS));
    const shown = found.slice(from, from + ROWS);
    $("inspect-rows").replaceChildren(
      ...shown.map((k) => {
        const row = make("tr");
        const head = make("th", undefined, { scope: "row" });
        head.append(make("a", data.ids[k], { href: link(k) }));
        if (data.place[k] !== undefined) head.append(make("span", " with sound", { class: "small muted" }));
        row.append(head, make("td", data.tasks[data.task[k]]));
        for (const name of shownMeasures) {
          row.append(make("td", percent(data.measures[name][k]), { class: "n" }));
        }
        row.append(make("td", (data.notes[k] || []).join("; "), { class: "small" }));
        return row;
      }),
    );
    const last = from + shown.length;
    $("inspect-count").textContent = found.length
      ? `${from + 1} to ${last} of ${found.length} ${found.length === 1 ? "item" : "items"}`
      : "No item is like that.";
    $("inspect-pages").hidden = found.length <= ROWS;
    $("inspect-before").disabled = from === 0;
    $("inspect-after").disabled = last >= found.length;
  };

  // ---- one item
  const verdict = (column, k) => {
    const value = column.values[k];
    if (value === NOTHING) return make("td", "-", { class: "muted" });
    if (value === WRONG) return make("td", "wrong (nothing to hear)");
    const margin = value * column.scale;
    const says = value > 0 ? "right" : value < 0 ? "wrong" : "tie";
    const cell = make("td", `${says} `);
    cell.append(make("span", (margin > 0 ? "+" : "") + margin.toPrecision(3), { class: "ci" }));
    return cell;
  };
  const scores = (k) => {
    const task = data.tasks[data.task[k]];
    const names = [...new Set(data.columns.filter((c) => c.values[k] !== NOTHING).map((c) => c.evaluator))];
    if (!names.length) return make("p", "No evaluator has a verdict on this item.", { class: "small" });
    const table = make("table");
    const head = make("tr");
    head.append(make("th", "model", { scope: "col" }));
    for (const name of names) {
      const said = name === "judge" ? `judge (${data.judges[task]})` : name;
      head.append(make("th", name === data.headline[task] ? `${said}, ranks` : said, { scope: "col" }));
    }
    const body = make("tbody");
    data.models.forEach((model, m) => {
      const own = data.columns.filter((c) => c.model === m && c.values[k] !== NOTHING);
      if (!own.length) return;
      const row = make("tr");
      row.append(make("th", model, { scope: "row" }));
      for (const name of names) {
        const column = own.find((c) => c.evaluator === name);
        row.append(column ? verdict(column, k) : make("td", "-", { class: "muted" }));
      }
      body.append(row);
    });
    const top = make("thead");
    top.append(head);
    table.append(make("caption", "Verdicts with margins (> 0: the right clip)"), top, body);
    const box = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores" });
    box.append(table);
    return box;
  };
  const svg = (name, attributes, words) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (words !== undefined) element.textContent = words;
    return element;
  };
  const draw = (trace) => {
    const [W, H, L, B, T, R] = [360, 150, 30, 18, 6, 14];
    const low = Math.floor(trace.low);
    const high = Math.max(Math.min(0, Math.ceil(trace.high)), low + 1);
    const x = (s) => L + ((W - L - R) * (Math.min(Math.max(s, data.from_s), data.to_s) - data.from_s)) / (data.to_s - data.from_s);
    const y = (v) => T + ((H - B - T) * (high - v)) / (high - low);
    const box = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "log-probability over time" });
    const primary = { x: x(0), y: T, width: x(data.primary_window_s) - x(0), height: H - B - T, class: "window" };
    box.append(svg("rect", primary));
    for (const s of data.windows_s) {
      if (s <= data.to_s) box.append(svg("line", { class: "edge", x1: x(s), x2: x(s), y1: T, y2: H - B }));
    }
    const step = [1, 2, 5, 10, 20, 50, 100, 1e9].find((s) => (high - low) / s <= 5);
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
      box.append(svg("line", { class: "axis", x1: L, x2: W - R, y1: y(v), y2: y(v) }));
      box.append(svg("text", { class: "tick", x: L - 4, y: y(v) + 3, "text-anchor": "end" }, String(v)));
    }
    for (let s = Math.ceil(data.from_s * 2) / 2; s <= data.to_s; s += 0.5) {
      box.append(svg("text", { class: "tick", x: x(s), y: H - 4, "text-anchor": "middle" }, `${s} s`));
    }
    box.append(svg("line", { class: "cut", x1: x(0), x2: x(0), y1: T, y2: H - B }));
    for (const [key, name] of [["n", "line-neg"], ["p", "line-pos"]]) {
      const pairs = bytes(trace[key]);
      let at = trace[`${key}0`];
      const points = [];
      for (let i = 0; i < pairs.length; i += 2) {
        const end = at + pairs[i] * trace.unit;
        const v = trace.low + ((trace.high - trace.low) * pairs[i + 1]) / 255;
        points.push(`${x(at).toFixed(1)},${y(v).toFixed(1)} ${x(end).toFixed(1)},${y(v).toFixed(1)}`);
        at = end;
      }
      box.append(svg("polyline", { class: name, points: points.join(" ") }));
    }
    const part = make("div", undefined, { class: "trace" });
    part.append(make("p", data.models[trace.m], { class: "small" }), box);
    return part;
  };
  const open = (k) => {
    const body = [];
    const about = [`task ${data.tasks[data.task[k]]}`];
    if (data.cluster[k]) about.push(`cluster ${data.cluster[k]}`);
    if (data.labels[k]) about.push(data.labels[k]);
    body.push(make("p", about.join("; "), { class: "small muted" }));
    for (const note of data.notes[k] || []) body.push(make("p", note, { class: "small" }));
    const copy = make("p", undefined, { class: "small" });
    copy.append(make("a", "Link to this item", { href: link(k) }));
    body.push(copy, scores(k));
    if (data.traces[k]) {
      const words = "Log-probability (nats) around the change: right clip solid, wrong clip dashed; the primary window is shaded, the ends of all windows are dotted.";
      body.push(make("p", words, { class: "small" }));
      const traces = make("div", undefined, { class: "traces" });
      traces.append(...data.traces[k].map(draw));
      body.push(traces);
    }
    const heard = data.place[k] === undefined ? null : document.getElementById(`item-${data.place[k] + 1}`);
    if (heard) {
      for (const players of heard.closest("article").querySelectorAll(".players")) {
        const copied = players.cloneNode(true);
        for (const player of copied.querySelectorAll("audio")) player.removeAttribute("id");
        body.push(copied);
      }
    } else {
      body.push(make("p", "The page holds no sound of this item; it is in the tables clips and continuations.", { class: "small muted" }));
    }
    $("inspect-item-h").textContent = data.ids[k];
    $("inspect-item-body").replaceChildren(...body);
    $("inspect-item").hidden = false;
    $("inspect-item").scrollIntoView({ block: "start" });
    $("inspect-item").focus({ preventScroll: true });
  };
  const follow = () => {
    if (!location.hash.startsWith("#item=")) return;
    let key;
    try {
      key = location.hash.slice(6).split("/").map(decodeURIComponent).join("/");
    } catch (error) {
      key = location.hash.slice(6); // not percent-encoded: looked up as it is
    }
    if (keys.has(key)) return open(keys.get(key));
    $("inspect-item-h").textContent = "No such item";
    $("inspect-item-body").replaceChildren(make("p", `This report has no item "${key}".`));
    $("inspect-item").hidden = false;
    $("inspect-item").scrollIntoView({ block: "start" });
  };

  // ---- wiring
  data.tasks.forEach((task, t) => $("inspect-task").append(make("option", task, { value: String(t) })));
  if (!data.measures.judge.some((value) => value !== null)) $("inspect-sort").value = "models";
  for (const id of ["inspect-search", "inspect-task", "inspect-sort", "inspect-noted", "inspect-heard"]) {
    $(id).addEventListener("input", () => {
      from = 0;
      list();
    });
  }
  $("inspect-form").addEventListener("submit", (event) => event.preventDefault());
  const turn = (by) => () => {
    from += by;
    list();
    $("inspect-list").focus();
  };
  $("inspect-before").addEventListener("click", turn(-ROWS));
  $("inspect-after").addEventListener("click", turn(ROWS));
  $("inspect-form").hidden = false;
  $("inspect-list").hidden = false;
  list();
  window.addEventListener("hashchange", follow);
  follow();
})();
