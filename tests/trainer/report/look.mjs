// Opens a page in Chromium as a person would, at two widths, light and dark, and prints what is wrong as one JSON line.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, chromium_path, page_path, shots] = process.argv.slice(2);
const load = createRequire(modules + "/");
const { chromium } = load("playwright-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: chromium_path, args: quiet });
const found = { console: [], requests: [], wide: [], overlaps: [], axe: [], title: [], sorted: null, hidden: [], cut: [], pages: 0 };
for (const [width, scheme] of [[390, "light"], [390, "dark"], [1280, "light"], [1280, "dark"]]) {
  // The policy would keep axe out as well; what it does to the page's own script is looked at below, with it in force.
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  page.on("console", (message) => found.console.push(message.text()));
  page.on("pageerror", (error) => found.console.push(String(error)));
  page.on("request", (request) => { if (request.url() !== "file://" + page_path) found.requests.push(request.url()); });
  await page.goto("file://" + page_path);
  found.title.push(await page.title());
  const name = `${width} ${scheme}`;
  const open = () => page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  const wide = () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  if (await wide()) found.wide.push(name);
  if (shots) await page.screenshot({ path: `${shots}-${width}-${scheme}.png`, clip: { x: 0, y: 0, width, height: 1400 }, fullPage: true });
  if (width === 1280 && scheme === "light") {
    found.sorted = await page.evaluate(() => {
      const table = document.querySelector("#mismatches table.sorts");
      if (!table) return null;
      const heads = [...table.tHead.rows[0].cells], column = heads.findIndex((head) => head.textContent.startsWith("loss"));
      heads[column].querySelector("button").click();
      const values = [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.value));
      return values.every((value, place) => place === 0 || values[place - 1] <= value);
    });
  }
  await open();
  // What a phone shows only to who scrolls a table sideways is not seen; a confusion matrix has no other form.
  found.hidden.push(...await page.evaluate((name) => [...document.querySelectorAll(".scroll, pre")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && !one.querySelector(".shade"))
    .map((one) => `${name}: ${(one.previousElementSibling ?? one).textContent.slice(0, 60)}`), name));
  if (await wide()) found.wide.push(name + ", all open");
  found.overlaps.push(...await page.evaluate((name) => {
    // Texts of charts over each other, and blocks of a section over each other.
    const boxes = (nodes) => [...nodes].map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
    const wrong = [];
    const groups = [...document.querySelectorAll("svg")].map((svg) => boxes(svg.querySelectorAll("text")))
      .concat([...document.querySelectorAll("section")].map((section) => boxes(section.children)));
    for (const group of groups)
      group.forEach(([node, box], place) => group.slice(place + 1).forEach(([other, its]) => {
        if (meet(box, its)) wrong.push(`${name}: ${node.tagName} ${node.textContent.slice(0, 30)} | ${other.textContent.slice(0, 30)}`);
      }));
    return wrong;
  }, name));
  await page.close();
  const told = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, bypassCSP: true });
  const checked = await told.newPage();
  await checked.goto("file://" + page_path);
  await checked.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  await checked.evaluate(axe);
  const result = await checked.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const one of result.violations)
    if (["serious", "critical"].includes(one.impact)) found.axe.push(`${name}: ${one.id}: ${one.nodes.length} x ${one.nodes[0].html.slice(0, 160)}`);
  await told.close();
  await context.close();
}
// On paper: A4 without its margins is 718 pixels wide, and what lies beyond them, or would have to be scrolled to, is not printed.
const context = await browser.newContext({ viewport: { width: 718, height: 1000 }, colorScheme: "dark" });
const paper = await context.newPage();
await paper.emulateMedia({ media: "print", colorScheme: "dark" });
await paper.goto("file://" + page_path);
found.cut = await paper.evaluate(() => {
  const edge = document.documentElement.clientWidth + 1;
  const shown = [...document.body.querySelectorAll("*")].filter((node) => node.checkVisibility() && !node.closest(".unseen, svg"));
  const cut = shown.filter((node) => node.getBoundingClientRect().right > edge
    || (getComputedStyle(node).overflowX !== "visible" && node.scrollWidth > node.clientWidth + 1));
  const dark = getComputedStyle(document.body).backgroundColor === "rgb(255, 255, 255)" ? [] : ["dark paper"];
  const unread = [...document.querySelectorAll("dl.terms, details.terms > dl")].filter((node) => !node.getBoundingClientRect().height);
  return [...dark, ...cut.map((node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`),
    ...unread.map((node) => `terms ${node.textContent.slice(0, 30)}`)];
});
const printed = await paper.pdf({ format: "A4", margin: { top: "10mm", bottom: "10mm", left: "10mm", right: "10mm" }, printBackground: true,
  ...(shots ? { path: `${shots}.pdf` } : {}) });
found.pages = printed.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
if (shots) await paper.screenshot({ path: `${shots}-print.png`, fullPage: true });
await browser.close();
console.log(JSON.stringify(found));
