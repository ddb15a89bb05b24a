"""What the page of the address space does: moves the view, finds things, says what they are.

Text from the page is only ever put back as text, never as markup.
"""

from __future__ import annotations

SCRIPT = r"""
"use strict";
(() => {
const WHOLE = {x: 0, y: 0, width: 2048, height: 1024};
const SVG = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);
const sections = [...document.querySelectorAll("section.range")];
const views = sections.map(() => ({...WHOLE}));
const story = byId("story");
let current = 0;

// One shape as plain numbers, so that moving the view asks the document for nothing.
const read = (rect, section) => ({
  rect, section, what: rect.classList[0], prefix: rect.dataset.p, name: rect.dataset.n || "",
  x: +rect.getAttribute("x"), y: +rect.getAttribute("y"),
  width: +rect.getAttribute("width"), height: +rect.getAttribute("height"),
});
const shapes = sections.map((section, number) =>
  [...section.querySelectorAll(".shapes > rect")].map(rect => read(rect, number)));
const RANK = {place: 0, subnet: 1, inner: 2, group: 3, spare: 4, node: 5};
const labelled = shapes.map(own => own.filter(shape => shape.what in RANK)
  .sort((a, b) => RANK[a.what] - RANK[b.what] || b.width * b.height - a.width * a.height));
const SIZE = {place: 17, subnet: 16, inner: 13, group: 12, spare: 12, node: 11};
const BOLD = {place: true, subnet: true};
const PLACES = [.5, .25, .75];
const LEAST = 9, MOST_LABELS = 300;

// How wide a text is, in its own height.
const pen = document.createElement("canvas").getContext("2d");
const family = getComputedStyle(document.body).fontFamily, widths = new Map();
function widthOf(text, bold) {
  const key = (bold ? "*" : " ") + text;
  if (!widths.has(key)) {
    pen.font = `${bold ? 700 : 500} 100px ${family}`;
    widths.set(key, pen.measureText(text).width / 100);
  }
  return widths.get(key);
}

const svgOf = number => sections[number].querySelector("svg");

function scaleOf(number) {
  const size = svgOf(number).getBoundingClientRect(), view = views[number];
  return Math.min(size.width / view.width, size.height / view.height) || 1;
}

let waiting = false;
function show() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  if (!sections.length) return;
  const view = views[current];
  svgOf(current).setAttribute("viewBox", [view.x, view.y, view.width, view.height].join(" "));
  label();
}

// Like a map: the names of large things first, each where there is room, none over another:
// in the middle of its shape, or else a quarter from its top or bottom.
function label() {
  const scale = scaleOf(current), taken = [], made = document.createDocumentFragment();
  for (const shape of labelled[current]) {
    if (made.childElementCount === MOST_LABELS) break;
    const found = visible(shape), fitting = found && fit(shape, found, scale);
    if (!fitting) continue;
    const {text, size} = fitting, x = found.x + found.width / 2;
    const half = widthOf(text, BOLD[shape.what]) * size / 2 + 3, high = size * .65;
    const y = PLACES.map(place => found.y + found.height * place).find(y => {
      const box = [x * scale - half, y * scale - high, x * scale + half, y * scale + high];
      const covers = o => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3];
      if (taken.some(covers)) return false;
      taken.push(box);
      return true;
    });
    if (y === undefined) continue;
    const node = document.createElementNS(SVG, "text");
    node.setAttribute("x", x);
    node.setAttribute("y", y);
    node.setAttribute("font-size", size / scale);
    node.setAttribute("class", shape.what);
    node.textContent = text;
    made.append(node);
  }
  sections[current].querySelector(".labels").replaceChildren(made);
}

// The part of a shape that is in view; null if that is nothing, or says nothing since it is all.
function visible(shape) {
  const view = views[current];
  const x = Math.max(shape.x, view.x), y = Math.max(shape.y, view.y);
  const width = Math.min(shape.x + shape.width, view.x + view.width) - x;
  const height = Math.min(shape.y + shape.height, view.y + view.height) - y;
  const isAll = width === view.width && height === view.height;
  return width > 0 && height > 0 && !isAll ? {x, y, width, height} : null;
}

// A prefix is never cut short, since its beginning would be another prefix.
function fit(shape, {width, height}, scale) {
  const text = shape.what === "spare" ? `${shape.prefix} free` : shape.name || shape.prefix;
  const room = width * scale - 8;
  const size = Math.min(SIZE[shape.what], room / widthOf(text, BOLD[shape.what]));
  if (height * scale < Math.max(size, LEAST) + 4) return null;
  if (size >= LEAST) return {text, size};
  const most = Math.floor(room / (LEAST * .72));
  if (!shape.name || shape.name === shape.prefix || most < 5) return null;
  return {text: text.slice(0, most - 1) + "\u2026", size: LEAST};
}

const within = width => Math.min(Math.max(width, WHOLE.width / 2 ** 34), WHOLE.width * 1.5);

function settle(view) {
  const size = within(view.width);
  view.height *= size / view.width;
  view.width = size;
  view.x = Math.min(Math.max(view.x, -view.width / 2), WHOLE.width - view.width / 2);
  view.y = Math.min(Math.max(view.y, -view.height / 2), WHOLE.height - view.height / 2);
}

function zoom(factor, at) {
  const view = views[current];
  const point = at || {x: view.x + view.width / 2, y: view.y + view.height / 2};
  const width = within(view.width * factor), real = width / view.width;
  view.width = width;
  view.height *= real;
  view.x = point.x - (point.x - view.x) * real;
  view.y = point.y - (point.y - view.y) * real;
  settle(view);
  show();
}

function move(dx, dy) {
  const view = views[current];
  view.x += dx * view.width;
  view.y += dy * view.height;
  settle(view);
  show();
}

function choose(number) {
  current = number;
  sections.forEach((section, position) => { section.hidden = position !== number; });
  document.querySelectorAll("[role=tab]").forEach((tab, position) =>
    tab.setAttribute("aria-selected", String(position === number)));
  show();
}

function all() {
  views[current] = {...WHOLE};
  show();
}

// Searching

function parse(text) {
  const [address, length] = text.split("/");
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  let value = 0n, bits = 32;
  if (four) {
    for (const part of four.slice(1)) {
      if (+part > 255) return null;
      value = value << 8n | BigInt(+part);
    }
  } else if (/^[0-9a-f:]+$/i.test(address) && address.includes(":")) {
    const halves = address.split("::");
    const words = halves.map(half => half ? half.split(":") : []);
    const missing = 8 - words.flat().length;
    if (halves.length > 2 || missing < 0 || halves.length === 1 && missing) return null;
    const every = [...words[0], ...Array(missing).fill("0"), ...words[1] || []];
    for (const word of every) {
      if (!/^[0-9a-f]{1,4}$/i.test(word)) return null;
      value = value << 16n | BigInt(parseInt(word, 16));
    }
    bits = 128;
  } else return null;
  const size = length === undefined ? bits : +length;
  if (length !== undefined && !/^\d{1,3}$/.test(length) || size > bits) return null;
  return {value, bits, size};
}

function around(outer, inner) {
  const rest = BigInt(outer.bits - outer.size);
  return outer.bits === inner.bits && outer.size <= inner.size &&
    outer.value >> rest === inner.value >> rest;
}

let prefixes = null;
function every() {
  if (!prefixes) {
    prefixes = shapes.flat().filter(shape => shape.what !== "block")
      .map(shape => ({shape, prefix: parse(shape.prefix)}));
  }
  return prefixes;
}

const SHOWN = 12;
function matches(text) {
  const wanted = parse(text);
  if (wanted) {
    return every().filter(one => around(one.prefix, wanted))
      .sort((a, b) => b.prefix.size - a.prefix.size || RANK[b.shape.what] - RANK[a.shape.what])
      .map(one => one.shape).slice(0, SHOWN);
  }
  const lower = text.toLowerCase(), found = [];
  for (const {shape} of every()) {
    const place = shape.name.toLowerCase().indexOf(lower);
    if (place >= 0 || shape.prefix.startsWith(lower)) found.push({shape, place});
  }
  const exact = shape => shape.name.toLowerCase() === lower ? 0 : 1;
  return found.sort((a, b) => exact(a.shape) - exact(b.shape) ||
    (a.place !== 0) - (b.place !== 0) || a.shape.name.length - b.shape.name.length)
    .map(one => one.shape).slice(0, SHOWN);
}

function go(shape) {
  choose(shape.section);
  const factor = shape.what === "node" || shape.what === "free" ? 10 : 1.15;
  const width = Math.min(Math.max(shape.width, shape.height * 2) * factor, WHOLE.width);
  const view = views[current];
  view.width = width;
  view.height = width / 2;
  view.x = shape.x + shape.width / 2 - width / 2;
  view.y = shape.y + shape.height / 2 - width / 4;
  settle(view);
  const found = sections[current].querySelector(".found");
  for (const side of ["x", "y", "width", "height"]) found.setAttribute(side, shape[side]);
  found.removeAttribute("hidden");
  tell(shape.rect);
  show();
}

function search() {
  const list = byId("results"), text = byId("search").value.trim();
  const found = text ? matches(text) : [];
  list.replaceChildren(...found.map((shape, position) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const small = document.createElement("small");
    button.type = "button";
    button.className = position ? "" : "first";
    button.textContent = shape.name || shape.prefix;
    small.textContent = `${shape.what} ${shape.name ? shape.prefix : ""}`;
    button.append(small);
    button.addEventListener("click", () => { list.hidden = true; go(shape); });
    item.append(button);
    return item;
  }));
  list.hidden = !found.length;
}

// Saying what is under the pointer

function tell(rect) {
  const title = rect && rect.querySelector("title");
  if (!title) return;
  const at = {x: +rect.getAttribute("x"), y: +rect.getAttribute("y")};
  const homes = labelled[current].filter(shape =>
    RANK[shape.what] < RANK.spare && shape.rect !== rect &&
    shape.x <= at.x && at.x < shape.x + shape.width &&
    shape.y <= at.y && at.y < shape.y + shape.height);
  const lines = homes.map(shape =>
    `${shape.what === "inner" ? "place" : shape.what} ${shape.name}`);
  const told = title.textContent;
  story.textContent = [told, ...lines.filter(line => !told.includes(line))].join("\n");
}

sections.forEach((section, number) => {
  const svg = section.querySelector("svg");
  const point = event => {
    const view = views[number], size = svg.getBoundingClientRect(), scale = scaleOf(number);
    return {
      x: view.x + view.width / 2 + (event.clientX - size.x - size.width / 2) / scale,
      y: view.y + view.height / 2 + (event.clientY - size.y - size.height / 2) / scale,
    };
  };
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) / 200), point(event));
  }, {passive: false});
  svg.addEventListener("dblclick", event => zoom(.4, point(event)));
  svg.addEventListener("pointerover", event => tell(event.target.closest(".shapes > rect")));
  let last = null;
  svg.addEventListener("pointerdown", event => {
    last = event;
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("dragging");
  });
  svg.addEventListener("pointermove", event => {
    if (!last) return;
    const scale = scaleOf(number), view = views[number];
    view.x -= (event.clientX - last.clientX) / scale;
    view.y -= (event.clientY - last.clientY) / scale;
    last = event;
    settle(view);
    show();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    svg.addEventListener(name, () => { last = null; svg.classList.remove("dragging"); });
  }
});

byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", event => {
  if (event.key === "Enter") byId("results").querySelector("button")?.click();
  if (event.key === "Escape") byId("results").hidden = true;
});
document.querySelectorAll("[role=tab]").forEach(tab =>
  tab.addEventListener("click", () => choose(+tab.dataset.range)));
document.querySelectorAll(".go").forEach(button => button.addEventListener("click", () => {
  const found = every().find(({shape}) =>
    shape.what === "subnet" && shape.prefix === button.dataset.go);
  if (found) go(found.shape);
}));
byId("in").addEventListener("click", () => zoom(.6));
byId("out").addEventListener("click", () => zoom(1 / .6));
byId("all").addEventListener("click", all);
byId("colour").addEventListener("click", event => {
  const on = document.body.classList.toggle("loads");
  event.currentTarget.setAttribute("aria-pressed", String(on));
});
byId("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.className = dark ? "light" : "dark";
});
document.addEventListener("keydown", event => {
  if (event.target === byId("search") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6), "0": all,
    ArrowLeft: () => move(-.2, 0), ArrowRight: () => move(.2, 0),
    ArrowUp: () => move(0, -.2), ArrowDown: () => move(0, .2),
  };
  if (event.key === "/") byId("search").focus();
  else if (!keys[event.key]) return;
  else keys[event.key]();
  event.preventDefault();
});
addEventListener("resize", show);
show();
})();
"""
