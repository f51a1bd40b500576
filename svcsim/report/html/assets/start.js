"use strict";
function startTheme() {
  const button = byId("theme"), root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = dark() ? "light" : "dark"; };
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
}

function drawCharts() {
  drawLatency();
  drawAnatomy();
  drawParts();
  drawBalance();
}

function startPages() {
  const all = data.charts.modes.length, box = byId("pages");
  if (all <= PAGE) return;
  const select = html("select", {"aria-label": "variants that the charts show"});
  for (let first = 0; first < all; first += PAGE) {
    const last = Math.min(first + PAGE, all), names = data.charts.modes.slice(first, last).map((mode) => short(mode.name, 24));
    select.append(html("option", {value: first}, `${first + 1} to ${last}: ${names[0]}${last > first + 1 ? ` … ${names.at(-1)}` : ""}`));
  }
  const turn = (index) => {
    select.selectedIndex = index;
    page.first = Number(select.value);
    before.disabled = index === 0;
    after.disabled = index === select.options.length - 1;
    drawCharts();
  };
  const before = html("button", {type: "button", "aria-label": "previous variants"}, "◂");
  const after = html("button", {type: "button", "aria-label": "next variants"}, "▸");
  const label = html("label", {}, `The charts show ${PAGE} of ${all} variants at a time:`);
  label.append(" ", select);
  box.append(label, before, after);
  box.hidden = false;
  select.addEventListener("change", () => turn(select.selectedIndex));
  before.addEventListener("click", () => turn(select.selectedIndex - 1));
  after.addEventListener("click", () => turn(select.selectedIndex + 1));
  turn(Math.floor(Math.max(0, data.charts.modes.findIndex((mode) => mode.name === data.first)) / PAGE));
}

startTheme();
startCluster();
drawCharts();
startPages();
