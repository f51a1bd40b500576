"use strict";
/* The cluster at a moment: a row a node, its clients on the left, its pods on the right, flows between them. */
const view = {run: 0, time: 0, frame: 0, timer: null, cursor: null, rows: new Map(), pods: new Map(), nobody: null, top: 0};
const FRAME_MS = 120, WIDE = 1000, CLIENT_X = 150, POD_X = 660, POD_WIDE = 328, OUTSIDE = -1, NOBODY = -1;
const LIVE = "var(--accent)", DEAD = "var(--bad)", SLOW = "var(--warn)";

const inside = (spans, ms) => spans.find(([from, to]) => from <= ms && (to === null || ms < to));
const run = () => data.cluster[view.run];
const middle = () => {
  const {edges} = run();
  return Math.min((edges[view.frame] + edges[view.frame + 1]) / 2, data.charts.duration);
};

function frameAt(ms) {
  const {edges} = run();
  let low = 0, high = edges.length - 2;
  while (low < high) {
    const half = (low + high + 1) >> 1;
    if (edges[half] <= ms) low = half; else high = half - 1;
  }
  return low;
}

function drawRates() {
  const rates = data.charts.rates[view.run], height = 150, root = picture(byId("rates-chart"), WIDE, height, "requests over time");
  const x = (ms) => 8 + (ms / data.charts.duration) * (WIDE - 16), bottom = 92, room = 70;
  const most = Math.max(1, ...rates.ok.map((ok, index) => ok + rates.failed[index]));
  for (const fault of run().faults) hint(add(root, "rect", {x: x(fault.from), y: 0, height: 130,
    width: Math.max(1.5, x(fault.to === null ? fault.from : Math.min(fault.to, data.charts.duration)) - x(fault.from)),
    style: "fill:var(--warn);opacity:.16"}), fault.text);
  const wide = Math.max(0.5, (rates.width / data.charts.duration) * (WIDE - 16) - 0.4);
  rates.ok.forEach((ok, index) => {
    const failed = rates.failed[index], at = x(index * rates.width);
    if (ok) add(root, "rect", {x: at, y: bottom - (ok / most) * room, width: wide, height: (ok / most) * room, style: `fill:${LIVE};opacity:.55`});
    if (failed) add(root, "rect", {x: at, y: bottom - ((ok + failed) / most) * room, width: wide, height: (failed / most) * room, style: `fill:${DEAD}`});
  });
  const slowest = Math.max(...rates.p99.map((each) => each ?? 0));
  if (slowest > 0) {
    let path = "", pen = "M";
    rates.p99.forEach((each, index) => {
      if (each === null) { pen = "M"; return; }
      path += `${pen}${x((index + 0.5) * rates.width).toFixed(1)},${(128 - (each / slowest) * 30).toFixed(1)}`;
      pen = "L";
    });
    add(root, "path", {d: path, fill: "none", style: "stroke:var(--muted);stroke-width:1.3"});
  }
  add(root, "text", {x: 10, y: 13, class: "soft"}, `requests a second: up to ${three(most / (rates.width / 1000))} (blue succeeded, red failed)   ·   ` +
    `grey line: p99, up to ${duration(slowest)}   ·   shaded: faults`);
  for (const tick of ticks(data.charts.duration, 8)) {
    add(root, "line", {x1: x(tick), x2: x(tick), y1: 128, y2: 133, class: "axis"});
    add(root, "text", {x: x(tick), y: 146, class: "soft", "text-anchor": tick === 0 ? "start" : x(tick) > 970 ? "end" : "middle"}, `${three(tick / 1000)} s`);
  }
  view.cursor = add(root, "line", {y1: 16, y2: 132, style: "stroke:var(--ink);stroke-width:2"});
  const seek = (event) => {
    if (!event.buttons) return;
    const place = root.getBoundingClientRect();
    stop();
    show(((event.clientX - place.left) / place.width * WIDE - 8) / (WIDE - 16) * data.charts.duration);
  };
  root.style.cursor = "crosshair";
  root.addEventListener("pointerdown", seek);
  root.addEventListener("pointermove", seek);
}

/* Boxes are laid out once a mode; moments only change what is on them. */
function layOut() {
  const {nodes, pods, flows, left} = run();
  view.rows.clear();
  view.pods.clear();
  const ends = new Set(), begins = new Set();
  for (const flow of flows) for (let at = 0; at < flow.length; at += 4) { begins.add(flow[at]); ends.add(flow[at + 1]); }
  const rows = nodes.map((node) => ({...node, pods: pods.filter((pod) => pod.node === node.id)}));
  const astray = pods.filter((pod) => pod.node === NOBODY);
  const calm = {down: [], unready: [], stopped: [], behind: []};
  if (astray.length) rows.push({...calm, id: -2, name: "elsewhere", pods: astray});
  if (begins.has(OUTSIDE)) rows.unshift({...calm, id: OUTSIDE, name: "outside", pods: []});
  let y = 4;
  for (const row of rows) {
    row.columns = row.pods.length > 8 ? 4 : row.pods.length > 3 ? 2 : 1;
    row.y = y;
    row.height = Math.max(62, Math.ceil(row.pods.length / row.columns) * 30 + 14);
    y += row.height + 10;
  }
  const lost = ends.has(NOBODY), notes = left[0] + left[1] > 0;
  const root = picture(byId("cluster-chart"), WIDE, y + (lost ? 40 : 0) + (notes ? 20 : 0), "nodes, pods and flows at the chosen moment");
  for (const row of rows) {
    row.box = add(root, "rect", {x: 2, y: row.y, width: WIDE - 4, height: row.height, rx: 8});
    row.title = hint(add(root, "text", {x: 14, y: row.y + 22, "font-weight": 600}, short(row.name, 17)), row.name);
    row.state = add(root, "text", {x: 14, y: row.y + 38, class: "soft"});
    row.rules = add(root, "text", {x: 14, y: row.y + 53, style: `fill:${SLOW}`});
    row.client = {x: CLIENT_X + 14, y: row.y + row.height / 2};
    if (begins.has(row.id)) {
      add(root, "circle", {cx: row.client.x, cy: row.client.y, r: 8, style: "fill:var(--panel);stroke:var(--ink);stroke-width:1.5"});
      row.sent = add(root, "text", {x: row.client.x, y: row.client.y - 13, "text-anchor": "middle", class: "soft"});
    }
    view.rows.set(row.id, row);
  }
  view.layer = add(root, "g", {fill: "none", "stroke-linecap": "round"});
  for (const row of rows) row.pods.forEach((pod, index) => {
    const wide = (POD_WIDE - (row.columns - 1) * 6) / row.columns, column = index % row.columns, line = Math.floor(index / row.columns);
    const block = Math.ceil(row.pods.length / row.columns) * 30 - 4;
    const seat = {...pod, x: POD_X + column * (wide + 6), y: row.y + (row.height - block) / 2 + line * 30, columns: row.columns};
    seat.box = add(root, "rect", {x: seat.x, y: seat.y, width: wide, height: 26, rx: 5});
    const name = pod.name.slice(pod.name.indexOf("/") + 1);
    add(root, "text", {x: seat.x + 7, y: seat.y + 17}, row.columns === 1 ? short(name, 27) : row.columns === 2 ? short(name, 13) : name.slice(-5));
    seat.state = add(root, "text", {x: seat.x + wide - 7, y: seat.y + 17, "text-anchor": "end", class: "soft"});
    seat.hint = add(seat.box, "title", {});
    view.pods.set(pod.id, seat);
  });
  view.nobody = null;
  if (lost) {
    view.nobody = {x: POD_X, y: y + 4};
    add(root, "rect", {x: POD_X, y: y + 4, width: POD_WIDE, height: 26, rx: 5, style: "fill:none;stroke:var(--muted);stroke-dasharray:4 3"});
    view.nobody.state = add(root, "text", {x: POD_X + POD_WIDE - 7, y: y + 21, "text-anchor": "end", class: "soft"});
    add(root, "text", {x: POD_X + 7, y: y + 21, class: "soft"}, "nobody: no endpoint was chosen");
  }
  if (notes) add(root, "text", {x: 14, y: y + (lost ? 50 : 10), class: "soft"},
    `not drawn: ${count(left[0])} further nodes, ${count(left[1])} further pods`);
  view.top = Math.max(1, ...flows.flatMap((flow, frame) => {
    const seconds = (run().edges[frame + 1] - run().edges[frame]) / 1000, found = [];
    for (let at = 0; seconds >= 0.5 && at < flow.length; at += 4) found.push((flow[at + 2] + flow[at + 3]) / seconds);
    return found.length ? [Math.max(...found)] : [];
  }));
}

function stroke(from, to, rate, bad) {
  const shift = bad ? 5 : -1, width = 0.8 + 7 * Math.sqrt(Math.min(1, rate / view.top)), half = (to.x - from.x) / 2;
  const path = add(view.layer, "path", {
    d: `M${from.x + 9},${from.y + shift / 2}C${from.x + half},${from.y + shift} ${from.x + half},${to.y + 13 + shift} ${to.x - 3},${to.y + 13 + shift}`,
    style: `stroke:${bad ? DEAD : LIVE};stroke-width:${width.toFixed(2)};opacity:${bad ? 0.9 : 0.55}`, ...(bad ? {"stroke-dasharray": "7 6"} : {})});
  hint(path, `${three(rate)} requests a second ${bad ? "that fail" : "that succeed"}`);
}

function drawMoment() {
  const {edges, flows, entries, faults} = run(), ms = middle(), flow = flows[view.frame];
  const seconds = (edges[view.frame + 1] - edges[view.frame]) / 1000, sums = new Map(), sent = new Map();
  view.layer.replaceChildren();
  let lost = 0, all = 0;
  for (let at = 0; at < flow.length; at += 4) {
    const [begin, end, ok, bad] = flow.slice(at, at + 4), from = view.rows.get(begin), to = view.pods.get(end) ?? view.nobody;
    all += ok + bad;
    lost += bad;
    sent.set(begin, (sent.get(begin) ?? 0) + ok + bad);
    const sum = sums.get(end) ?? [0, 0];
    sums.set(end, [sum[0] + ok, sum[1] + bad]);
    if (!from || !to) continue;
    if (ok) stroke(from.client, to, ok / seconds, false);
    if (bad) stroke(from.client, to, bad / seconds, true);
  }
  for (const row of view.rows.values()) {
    const down = inside(row.down, ms), unready = inside(row.unready, ms), stopped = inside(row.stopped, ms), behind = inside(row.behind, ms);
    row.box.setAttribute("style", `fill:var(--panel);stroke:${down ? DEAD : unready ? SLOW : "var(--line)"};stroke-width:${down ? 2 : 1}`);
    row.state.textContent = down ? (unready ? "down, NotReady" : "down, still Ready") : unready ? "NotReady" : row.id < 0 ? "" : "Ready";
    row.state.setAttribute("style", down ? `fill:${DEAD}` : unready ? `fill:${SLOW}` : "");
    row.rules.textContent = down ? "" : stopped ? "kube-proxy stopped" : behind ? "rules behind" : "";
    if (row.sent) row.sent.textContent = sent.get(row.id) ? `${three(sent.get(row.id) / seconds)}/s` : "silent";
  }
  for (const pod of [...view.pods.values(), ...(view.nobody ? [{...view.nobody, id: NOBODY, dead: [], unready: []}] : [])]) {
    const [ok, bad] = sums.get(pod.id) ?? [0, 0], dead = inside(pod.dead, ms), unready = inside(pod.unready, ms);
    const words = [];
    if (ok) words.push(`${three(ok / seconds)}/s`);
    if (bad) words.push(`${three(bad / seconds)}/s fail`);
    const state = dead ? (unready ? "dead, not ready" : "dead, still ready") : unready ? "not ready" : "";
    if (pod.columns === 4) words.splice(1);
    if (pod.columns === 4 && dead) words.splice(0, 1, "dead"); else if (state) words.unshift(pod.columns === 2 && dead ? "dead" : state);
    pod.state.textContent = words.join(" · ") || (pod.id === NOBODY || pod.columns === 4 ? "" : "idle");
    pod.state.setAttribute("style", bad || dead ? `fill:${DEAD}` : "");
    if (!pod.box) continue;
    pod.box.setAttribute("style", `fill:${dead ? "color-mix(in srgb, var(--bad) 18%, var(--paper))" : "var(--paper)"};` +
      `stroke:${dead ? DEAD : unready ? SLOW : "var(--good)"};stroke-width:1.5;${unready ? "stroke-dasharray:4 3" : ""}`);
    pod.hint.textContent = `${pod.name}${dead ? `: ${dead[2]}` : ""}`;
  }
  byId("clock").textContent = clock(edges[view.frame]);
  const acting = faults.filter((fault) => fault.from <= ms && (fault.to === null ? ms < fault.from + 3000 : ms < fault.to)).map((fault) => fault.text);
  byId("now").textContent = `${three(all / seconds)} requests a second, ${lost ? `${three(100 * lost / all)}% fail` : "none fails"}` +
    `${acting.length ? `; fault: ${acting.join(", ")}` : ""}`;
  const until = edges[view.frame + 1], past = entries.filter(([at]) => at < until);
  byId("log").replaceChildren(...past.slice(-6).map(([at, text]) => {
    const item = html("li", at >= edges[view.frame] ? {class: "fresh"} : {});
    item.append(html("span", {}, `${(at / 1000).toFixed(3)} s`), html("span", {}, text));
    return item;
  }));
}

function show(ms) {
  view.time = Math.min(Math.max(0, ms), data.charts.duration - 0.001);
  view.frame = frameAt(view.time);
  const slider = byId("slider");
  slider.value = String(Math.round(view.time));
  slider.setAttribute("aria-valuetext", clock(run().edges[view.frame]));
  const x = 8 + (view.time / data.charts.duration) * (WIDE - 16);
  view.cursor.setAttribute("x1", x);
  view.cursor.setAttribute("x2", x);
  drawMoment();
}

const step = (frames) => show(run().edges[Math.min(Math.max(0, view.frame + frames), run().edges.length - 2)]);

function toEvent(direction) {
  stop();
  const {edges, entries} = run(), frames = [...new Set(entries.map(([at]) => frameAt(at)))];
  const found = direction > 0 ? frames.find((each) => each > view.frame) : frames.filter((each) => each < view.frame).pop();
  show(edges[found ?? (direction > 0 ? edges.length - 2 : 0)]);
}

function stop() {
  clearInterval(view.timer);
  view.timer = null;
  byId("play").textContent = "play";
  byId("play").setAttribute("aria-pressed", "false");
}

function play() {
  if (view.timer !== null) { stop(); return; }
  if (view.frame >= run().edges.length - 2) show(0);
  byId("play").textContent = "pause";
  byId("play").setAttribute("aria-pressed", "true");
  view.timer = setInterval(() => { if (view.frame >= run().edges.length - 2) stop(); else step(1); }, FRAME_MS);
}

function choose(index) {
  view.run = index;
  drawRates();
  layOut();
  show(view.time);
}

function startCluster() {
  const select = byId("mode"), slider = byId("slider");
  data.charts.modes.slice(0, data.cluster.length).forEach((mode, index) => select.append(html("option", {value: index}, mode.name)));
  select.addEventListener("change", () => choose(Number(select.value)));
  slider.max = String(Math.round(data.charts.duration));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  slider.addEventListener("keydown", (event) => {
    const act = {ArrowRight: () => step(1), ArrowUp: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => step(-1),
      PageUp: () => toEvent(-1), PageDown: () => toEvent(1), Home: () => show(0), End: () => show(data.charts.duration)}[event.key];
    if (!act) return;
    event.preventDefault();
    stop();
    act();
  });
  byId("play").addEventListener("click", play);
  byId("previous").addEventListener("click", () => toEvent(-1));
  byId("next").addEventListener("click", () => toEvent(1));
  swatches(byId("cluster-legend"), [[LIVE, "requests that succeed"], [DEAD, "requests that fail (dashed), or dead"],
    [SLOW, "reported not ready, or rules not yet programmed"]]);
  const first = run().faults[0];
  view.time = first ? Math.min(first.from + 300, data.charts.duration - 1) : data.charts.duration / 2;
  choose(Math.max(0, data.charts.modes.findIndex((mode) => mode.name === data.first)));
  select.value = String(view.run);
}
