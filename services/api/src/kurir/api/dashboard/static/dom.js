// Elements, made by hand: what others wrote is always text here and never markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false),
  );
  return element;
}

export function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", ...attributes, onclick: busyWhile(onclick) }, label);
}

// A button that waits says so, and takes no second click meanwhile.
function busyWhile(work) {
  return async (event) => {
    const pressed = event.currentTarget;
    if (pressed.getAttribute("aria-busy") === "true") return;
    pressed.setAttribute("aria-busy", "true");
    try {
      await work(event);
    } catch (error) {
      failed(error);
    } finally {
      pressed.removeAttribute("aria-busy");
    }
  };
}

// Shows `children` in place of what `parent` holds. What looks the same stays, so that no click falls between two
// drawings: the controls of `children` must not depend on more than what is shown. Who was at a control stays at it.
export function draw(parent, ...children) {
  const shown = children.filter(Boolean);
  const held = [...parent.childNodes];
  if (shown.length === held.length && shown.every((each, index) => each.isEqualNode(held[index]))) return;
  const at = parent.contains(document.activeElement) ? document.activeElement : null;
  parent.replaceChildren(...shown);
  if (at) [...parent.querySelectorAll(at.tagName)].find((each) => each.textContent === at.textContent)?.focus();
}

export function status(word, tone) {
  return h("span", { class: `status ${tone}` }, word);
}

// `columns` are headings; each row is a list of cells, in the same order. On a phone each row becomes a card.
export function table(caption, columns, rows) {
  const head = columns.map((name) => h("th", { scope: "col", role: "columnheader" }, name));
  const body = rows.map((cells) =>
    h(
      "tr",
      { role: "row" },
      cells.map((cell, index) => h("td", { role: "cell", "data-label": columns[index] }, h("div", {}, cell))),
    ),
  );
  return h(
    "table",
    { role: "table", "aria-label": caption },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body),
  );
}

// A button for a cell: opens a row below its own, with what `content` makes.
export function opener(label, content) {
  const toggle = (event) => {
    const pressed = event.currentTarget;
    const row = pressed.closest("tr");
    const isOpen = pressed.getAttribute("aria-expanded") === "true";
    pressed.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) row.nextSibling.remove();
    else
      row.after(
        h("tr", { class: "inside", role: "row" }, h("td", { role: "cell", colspan: row.cells.length }, content())),
      );
  };
  return button(label, toggle, { class: "quiet", "aria-expanded": "false" });
}

export function facts(...pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return h(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

export function empty(text, ...more) {
  return h("div", { class: "empty" }, h("p", {}, text), more);
}

export function notice(tone, ...content) {
  return h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" }, content);
}

const TODAY = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const OTHER_DAY = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

// `at` is ISO 8601 or Unix milliseconds.
export function time(at) {
  if (at === null || at === undefined) return "";
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  const text = (isToday ? TODAY : OTHER_DAY).format(date);
  return h("time", { datetime: date.toISOString(), title: WHOLE.format(date) }, text);
}

export function copyable(text, label = text) {
  const copy = async (event) => {
    event.preventDefault();
    await navigator.clipboard?.writeText(text);
    say(navigator.clipboard ? "Copied." : "Your browser copies on https pages alone; select the text instead.");
  };
  return h(
    "span",
    { class: "copyable" },
    h("code", {}, label),
    button("Copy", copy, { class: "quiet", title: `Copy ${label}` }),
  );
}

// Shown for a moment, and read out by screen readers.
export function say(text, tone = "ok") {
  const line = h("p", { class: tone }, text);
  spoken().append(line);
  setTimeout(() => line.remove(), 6000);
}

export function failed(error) {
  if (error.name === "AbortError" || error.isSignedOut) return;
  say(error.message, "bad");
}

function spoken() {
  let region = document.getElementById("spoken");
  if (!region) {
    region = h("div", { id: "spoken", role: "status", "aria-live": "polite" });
    region.popover = "manual"; // above open dialogs, too
    document.body.append(region);
  }
  if (region.popover) {
    if (region.matches(":popover-open")) region.hidePopover();
    region.showPopover();
  }
  return region;
}

// A dialog of the browser's own: it keeps the focus inside, and Escape closes it.
export function dialog(title, content) {
  const box = h("dialog", { "aria-labelledby": "dialog-title" }, h("h2", { id: "dialog-title" }, title), content);
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

// Resolves to whether the person said yes.
export function confirmed({ title, text, action }) {
  return new Promise((resolve) => {
    const answer = (is) => () => {
      resolve(is);
      box.close();
    };
    const box = dialog(title, [
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        button("Cancel", answer(false)),
        button(action, answer(true), { class: "danger" }),
      ),
    ]);
    box.addEventListener("close", () => resolve(false));
  });
}

// What is shown once and never again: it is not closed by accident.
export function shownOnce({ title, text, values }) {
  const box = dialog(title, [
    h("p", {}, text),
    facts(...Object.entries(values).map(([name, value]) => [name, value && copyable(value)])),
    h(
      "div",
      { class: "actions" },
      button("I have stored it", () => box.close(), { class: "primary" }),
    ),
  ]);
  box.addEventListener("cancel", (event) => event.preventDefault());
  return new Promise((resolve) => box.addEventListener("close", resolve));
}
