"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/* An SVG element with attributes; text is set as text, never as markup. */
function svg(name, attributes = {}, text = null) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

function html(name, attributes = {}, text = null) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

/* A picture of so many units in a box, with a name for those who can't see it. */
function picture(box, width, height, label) {
  const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
  box.replaceChildren(root);
  return root;
}

function add(parent, name, attributes, text = null) {
  const element = svg(name, attributes, text);
  parent.append(element);
  return element;
}

function hint(element, text) { element.append(svg("title", {}, text)); return element; }

const three = (value) => {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const text = value.toFixed(Math.min(digits, 9));
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
};
/* A duration in ms for a person. */
function duration(ms) {
  const size = Math.abs(ms);
  if (size < 0.001) return `${three(ms * 1e6)} ns`;
  if (size < 1) return `${three(ms * 1e3)} µs`;
  if (size < 999.5) return `${three(ms)} ms`;
  return `${three(ms / 1e3)} s`;
}
const count = (value) => value.toLocaleString("en-US");
const clock = (ms) => `${(ms / 1000).toFixed(ms % 1000 ? 2 : 1)} s`;

function short(text, limit) {
  if (text.length <= limit) return text;
  const head = Math.ceil((limit - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (limit - 1 - head))}`;
}

/* Round steps of 1, 2 or 5 that give about so many ticks up to a value. */
function ticks(top, wanted) {
  if (!(top > 0)) return [0];
  const raw = top / wanted, base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * base).find((each) => each >= raw * 0.999);
  const found = [];
  for (let index = 0; index * step <= top * 1.0001; index++) found.push(index * step);
  return found;
}

/* Dark paper needs lighter lines: a colour mixed with white by a CSS variable. */
const shade = (colour) => `color-mix(in srgb, ${colour}, white calc(var(--lift) * 28%))`;

/* Of many variants the charts show a page at a time. */
const PAGE = 12, page = {first: 0};
const isShown = (index) => index >= page.first && index < page.first + PAGE;
const shownModes = () => data.charts.modes.filter((_, index) => isShown(index));

/* The legend of curves; what is pointed at stands out among the others. */
function modeLegend(box, curves) {
  box.replaceChildren(...shownModes().map((mode, place) => {
    const item = html("span"), line = svg("svg", {viewBox: "0 0 30 10", "aria-hidden": "true"});
    add(line, "line", {x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": mode.dash, style: `stroke:${shade(mode.colour)}`});
    item.append(line, mode.name);
    const dim = (others) => curves.forEach((curve, each) => curve.setAttribute("opacity", each === place ? 1 : others));
    item.addEventListener("pointerenter", () => dim(0.12));
    item.addEventListener("pointerleave", () => dim(1));
    return item;
  }));
}

function swatches(box, pairs) {
  box.replaceChildren(...pairs.map(([colour, text]) => {
    const item = html("span");
    item.append(html("i", {style: `background:${colour}`}), text);
    return item;
  }));
}
