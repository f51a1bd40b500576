"use strict";
const PART_COLOURS = ["#8c8c8c", "#cc79a7", "#d55e00", "#e69f00", "#56b4e9", "#0072b2", "#009e73", "#9ad0f5"];

function drawLatency() {
  const charts = data.charts, width = 1000, height = 380, left = 70, right = 20, top = 12, bottom = 44;
  const root = picture(byId("latency-chart"), width, height, "distribution of latency by mode");
  const curves = charts.cdf.filter((curve) => curve.length);
  if (!curves.length) { add(root, "text", {x: 80, y: 60, class: "soft"}, "no request succeeded"); return; }
  const low = Math.min(...curves.map((curve) => curve[Math.floor(curve.length / 40)][0])) / 1.2;
  const high = Math.max(...curves.map((curve) => curve[curve.length - 1][0])) * 1.2;
  const rarest = Math.min(...curves.map((curve) => curve[curve.length - 1][1]));
  const decades = Math.max(1, -Math.log10(rarest) + 0.1);
  const x = (ms) => left + (Math.log(Math.max(ms, low) / low) / Math.log(high / low)) * (width - left - right);
  const y = (share) => height - bottom + (Math.log10(share) / decades) * (height - bottom - top);
  for (const [share, name] of [[1, "min"], [0.5, "p50"], [0.1, "p90"], [0.01, "p99"], [0.001, "p99.9"], [1e-4, "p99.99"], [1e-5, "p99.999"]]) {
    if (-Math.log10(share) > decades) continue;
    add(root, "line", {x1: left, x2: width - right, y1: y(share), y2: y(share), class: "grid"});
    add(root, "text", {x: left - 8, y: y(share) + 4, "text-anchor": "end"}, name);
  }
  const span = Math.log10(high / low), factors = span < 2.2 ? [1, 2, 5] : span < 4 ? [1, 3] : [1];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) for (const factor of factors) {
    const ms = factor * 10 ** decade;
    if (ms < low || ms > high) continue;
    add(root, "line", {x1: x(ms), x2: x(ms), y1: top, y2: height - bottom, class: "grid"});
    add(root, "text", {x: x(ms), y: height - bottom + 18, "text-anchor": "middle"}, duration(ms));
  }
  add(root, "text", {x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "soft"}, "latency (log scale)");
  const drawn = charts.cdf.filter((_, index) => isShown(index)).map((curve, index) => {
    const mode = charts.modes[page.first + index];
    const points = curve.map(([ms, share]) => `${x(ms).toFixed(1)},${y(share).toFixed(1)}`).join(" ");
    return hint(add(root, "polyline", {points, fill: "none", "stroke-width": 2.5, "stroke-dasharray": mode.dash,
      "stroke-linejoin": "round", style: `stroke:${shade(mode.colour)}`}), mode.name);
  });
  modeLegend(byId("latency-legend"), drawn);
}

function drawAnatomy() {
  const charts = data.charts, box = byId("anatomy-chart");
  if (!box) return;
  swatches(byId("anatomy-legend"), charts.steps.map((name, index) => [`var(--step${index})`, name]).concat(
    [["var(--bad)", "last failing request sent (×)"]]));
  box.replaceChildren();
  const names = new Set(shownModes().map((mode) => mode.name));
  for (const whole of charts.faults) {
    const fault = {...whole, lanes: whole.lanes.filter((lane) => names.has(lane.mode))};
    if (!fault.lanes.length) continue;
    const rowHeight = 26, width = 1000, left = 130, plot = 560, top = 26, height = top + fault.lanes.length * rowHeight + 26;
    box.append(html("h3", {}, `${Number((fault.at / 1000).toFixed(3))} s: ${fault.text}`));
    const frame = html("div", {class: "chart"});
    box.append(frame);
    const root = picture(frame, width, height, `steps after ${fault.text}`);
    const ends = fault.lanes.flatMap((lane) => [...lane.steps, lane.last]).filter((each) => each !== null);
    const end = Math.max(1, ...ends) * 1.04, x = (ms) => left + (ms / end) * plot;
    const failures = Math.max(1, ...fault.lanes.map((lane) => lane.reasons.reduce((sum, each) => sum + each[1], 0)));
    for (const tick of ticks(end, 5)) {
      add(root, "line", {x1: x(tick), x2: x(tick), y1: top - 4, y2: height - 22, class: "grid"});
      add(root, "text", {x: x(tick), y: height - 6, "text-anchor": "middle", class: "soft"}, tick ? `+${duration(tick)}` : "0");
    }
    add(root, "text", {x: left, y: 14, class: "soft"}, "time after the fault");
    add(root, "text", {x: 730, y: 14, class: "soft"}, "failed requests");
    fault.lanes.forEach((lane, row) => {
      const y = top + row * rowHeight;
      add(root, "text", {x: left - 10, y: y + 15, "text-anchor": "end"}, short(lane.mode, 17));
      let from = 0;
      lane.steps.forEach((step, index) => {
        if (step === null || step <= from) return;
        hint(add(root, "rect", {x: x(from), y: y + 3, width: Math.max(0.5, x(step) - x(from)), height: 16, style: `fill:var(--step${index})`}),
          `${charts.steps[index]}: +${duration(step)}`);
        from = step;
      });
      if (lane.last !== null) {
        const cx = x(lane.last), cy = y + 11;
        hint(add(root, "path", {d: `M${cx - 5},${cy - 5}l10,10m0,-10l-10,10`, style: "stroke:var(--bad);stroke-width:3;stroke-linecap:round"}),
          `last failing request sent +${duration(lane.last)}`);
      }
      let at = 730;
      for (const [words, number, colour] of lane.reasons) {
        const wide = (number / failures) * 200;
        hint(add(root, "rect", {x: at, y: y + 3, width: Math.max(1, wide), height: 16, style: `fill:${shade(colour)}`}), `${number} ${words}`);
        at += wide;
      }
      add(root, "text", {x: at + 6, y: y + 15}, lane.failures);
    });
    const reasons = new Map(fault.lanes.flatMap((lane) => lane.reasons.map(([words, , colour]) => [words, colour])));
    const legend = html("div", {class: "legend"});
    swatches(legend, [...reasons].map(([words, colour]) => [shade(colour), words]));
    box.append(legend);
  }
}

function drawParts() {
  const {names} = data.charts.parts, rowHeight = 20, left = 270, plot = 610;
  const bands = data.charts.parts.bands.filter((_, index) => isShown(index));
  const used = names.map((_, part) => bands.some((mode) => mode.some((band) => band.parts[part] > 0)));
  const rows = bands.reduce((sum, mode) => sum + mode.length * rowHeight + 10, 0);
  const root = picture(byId("parts-chart"), 1000, rows + 16, "parts of the latency of the slowest requests");
  let y = 4;
  bands.forEach((mode, index) => {
    const name = short(data.charts.modes[page.first + index].name, 17);
    mode.forEach((band, place) => {
      if (!place) add(root, "text", {x: 0, y: y + 14, "font-weight": 600}, name);
      add(root, "text", {x: left - 8, y: y + 14, "text-anchor": "end", class: "soft"}, band.band);
      const total = band.parts.reduce((sum, each) => sum + each, 0) || 1;
      let x = left;
      band.parts.forEach((part, number) => {
        const wide = (part / total) * plot;
        if (wide <= 0) return;
        hint(add(root, "rect", {x, y: y + 2, width: wide, height: 15, style: `fill:${PART_COLOURS[number]}`}),
          `${names[number]}: ${duration(part)}, ${(100 * part / total).toFixed(1)}%`);
        x += wide;
      });
      add(root, "text", {x: left + plot + 8, y: y + 14}, `mean ${duration(total)}`);
      y += rowHeight;
    });
    y += 10;
  });
  swatches(byId("parts-legend"), names.map((name, index) => [PART_COLOURS[index], name]).filter((_, index) => used[index]));
}

function drawBalance() {
  const {names, left: leftOut} = data.charts.balance, modes = shownModes();
  const answers = data.charts.balance.answers.filter((_, index) => isShown(index));
  const alike = new Set(modes.map((mode) => mode.colour)).size < modes.length; // then bars say which they are
  if (!names.length) { byId("balance-chart").textContent = "No endpoint stood behind a workload's Service."; return; }
  const many = names.length > 16, lane = many ? 9 : 12, gap = many ? 5 : 10;
  const left = 300, plot = alike ? 500 : 620, block = modes.length * lane + gap;
  const root = picture(byId("balance-chart"), 1000, names.length * block + 24, "answers by endpoint and mode");
  const totals = answers.map((mode) => mode.reduce((sum, each) => sum + each, 0) || 1);
  const top = Math.max(...answers.flatMap((mode, index) => mode.map((each) => each / totals[index]))) || 1;
  const even = 1 / (names.length + leftOut);
  names.forEach((name, row) => {
    const y = row * block + 4;
    hint(add(root, "text", {x: left - 10, y: y + (modes.length * lane) / 2 + 4, "text-anchor": "end"}, short(name, 42)), name);
    modes.forEach((mode, index) => {
      const share = answers[index][row] / totals[index];
      hint(add(root, "rect", {x: left, y: y + index * lane + 1, width: Math.max(0.5, (share / top) * plot), height: lane - 2,
        style: `fill:${shade(mode.colour)}`}), `${mode.name}: ${count(answers[index][row])} answers, ${(100 * share).toFixed(1)}%`);
      if (lane >= 12) add(root, "text", {x: left + (share / top) * plot + 6, y: y + index * lane + 10, "font-size": 10, class: "soft",
        style: "font-size:10px"}, `${(100 * share).toFixed(1)}%${alike ? `  ${short(mode.name, 24)}` : ""}`);
    });
    const x = left + (even / top) * plot;
    add(root, "line", {x1: x, x2: x, y1: y - 1, y2: y + modes.length * lane + 1, style: "stroke:var(--ink);stroke-width:1.5"});
  });
  if (leftOut) add(root, "text", {x: left, y: names.length * block + 16, class: "soft"}, `${leftOut} further endpoints are not shown`);
  swatches(byId("balance-legend"), modes.map((mode) => [shade(mode.colour), mode.name]));
}
