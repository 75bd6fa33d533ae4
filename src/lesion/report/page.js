document.documentElement.classList.add("js");
for (const bar of document.querySelectorAll("[data-filters]")) {
  const items = document.querySelectorAll(`${bar.dataset.filters} [data-kind]`);
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const other of bar.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
    for (const item of items) item.hidden = button.value !== "" && item.dataset.kind !== button.value;
  });
}
for (const box of document.querySelectorAll("input[data-search]")) {
  const rows = document.querySelectorAll(`${box.dataset.search} tbody tr`);
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
const tool = document.querySelector("#try");
if (tool) {
  const points = JSON.parse(tool.dataset.points), share = Number(tool.dataset.prevalence), slider = tool.querySelector("input");
  const show = () => {
    const [threshold, sensitivity, specificity] = points[slider.value];
    const ill = Math.round(1000 * share), found = Math.round(sensitivity * ill), alarms = Math.round((1 - specificity) * (1000 - ill));
    const text = `From ${threshold.toFixed(3)} on: sensitivity ${(100 * sensitivity).toFixed(1)} %, specificity ${(100 * specificity).toFixed(1)} %. ` +
      `Of 1,000 with ${ill} positive: ${found} found, ${ill - found} missed, ${alarms} false alarms.`;
    tool.querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", show);
  tool.hidden = false;
  show();
}
addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details")) details.open = true; });
