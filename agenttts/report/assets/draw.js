"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");

function drawOne(figure) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  const layout = JSON.parse(JSON.stringify(figure.layout));
  for (const axis of ["xaxis", "yaxis"]) {
    Object.assign(layout[axis], {gridcolor: line, linecolor: line, zeroline: false, automargin: true});
  }
  Object.assign(layout, {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {color: ink, family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13}});
  // A legend at the side leaves no room for the plot on a phone.
  if (narrow.matches) {
    Object.assign(layout.legend, {orientation: "h", x: 0, y: -0.25, yanchor: "top"});
    layout.dragmode = false; // a finger on a chart scrolls the page
    layout.margin.r = 8;
  }
  const place = document.getElementById(figure.id);
  if (!place.classList.contains("js-plotly-plot")) place.textContent = "";
  Plotly.react(place, figure.data, layout, {responsive: true, displayModeBar: false});
}

function draw() {
  for (const figure of FIGURES) drawOne(figure);
}

async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).text();
}

async function begin() {
  const script = document.createElement("script");
  script.textContent = await unpacked(PLOTLY);
  document.head.append(script);
  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
}

begin().catch((error) => {
  for (const figure of FIGURES) {
    document.getElementById(figure.id).textContent = "This browser cannot draw the chart; its figures are in the tables.";
  }
  console.error(error);
});
