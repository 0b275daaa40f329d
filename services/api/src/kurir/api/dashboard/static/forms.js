// Forms of labelled fields. What the API says of a field stands under that field.

import { button, failed, h } from "./dom.js";

let made = 0;

// `fields` are {name, label, kind, hint, options, value, optional, within, …attributes}; `kind` is select, textarea,
// checkbox, choices, or a type of <input>. `submit(values)` may throw an ApiError.
export function form({ fields, action, submit, cancel, label }) {
  const inputs = new Map();
  const general = h("p", { class: "problem", role: "alert", hidden: true });
  const press = h("button", { type: "submit", class: "primary" }, action);
  const rows = fields.map((field) => row(field, inputs));
  const actions = h("div", { class: "actions" }, cancel && button("Cancel", cancel), press);
  const whole = h(
    "form",
    { "aria-label": label ?? action, novalidate: true, autocomplete: "off" },
    rows,
    general,
    actions,
  );

  whole.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (press.getAttribute("aria-busy") === "true") return;
    clear(inputs, general);
    const missing = [...inputs.values()].find(({ input, field }) => !field.optional && isEmpty(input, field));
    if (missing) return tell(missing, "This is needed.");
    press.setAttribute("aria-busy", "true");
    try {
      await submit(values(inputs));
    } catch (error) {
      const found = inputs.get((error.field ?? "").split(/[.[]/, 1)[0]);
      if (found) tell(found, error.message);
      else if (error.status === undefined) failed(error);
      else {
        general.textContent = error.message;
        general.hidden = false;
      }
    } finally {
      press.removeAttribute("aria-busy");
    }
  });
  return whole;
}

function row(field, inputs) {
  const id = `field-${++made}`;
  const { name, label, kind = "text", hint, options = [], value, optional, within, ...attributes } = field;
  const own = { id, name, "aria-describedby": `${id}-hint ${id}-problem`, ...attributes };
  let input;
  if (kind === "textarea") input = h("textarea", { rows: 4, ...own, value: value ?? "" });
  else if (kind === "select") input = select(own, options, value);
  else if (kind === "choices") input = choices(own, options, value ?? []);
  else if (kind === "checkbox") input = h("input", { ...own, type: "checkbox", checked: Boolean(value) });
  else input = h("input", { ...own, type: kind, value: kind === "file" ? undefined : (value ?? "") });

  const problem = h("p", { class: "problem", id: `${id}-problem`, role: "alert", hidden: true });
  const title = h(
    kind === "choices" ? "span" : "label",
    { for: kind === "choices" ? null : id, id: `${id}-label` },
    label,
  );
  const told = h("p", { class: "hint", id: `${id}-hint`, hidden: !hint }, hint);
  inputs.set(name, { input, problem, field });
  return h("div", { class: `field ${kind}`, "data-within": within }, title, input, told, problem);
}

function select(own, options, value) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const chosen = h(
    "select",
    own,
    pairs.map(([each, text]) => h("option", { value: each }, text)),
  );
  if (value !== undefined && value !== null) chosen.value = value;
  return chosen;
}

function choices(own, options, value) {
  const group = h("div", { role: "group", "aria-labelledby": `${own.id}-label`, class: "choices" });
  for (const option of options) {
    const [each, text] = Array.isArray(option) ? option : [option, option];
    group.append(h("label", {}, h("input", { type: "checkbox", value: each, checked: value.includes(each) }), text));
  }
  return group;
}

function isEmpty(input, { kind }) {
  if (kind === "checkbox" || kind === "choices") return false;
  return kind === "file" ? input.files.length === 0 : input.value.trim() === "";
}

// By name: numbers as numbers, what was left empty as undefined.
function values(inputs) {
  const found = {};
  for (const [name, { input, field }] of inputs) {
    if (field.kind === "checkbox") found[name] = input.checked;
    else if (field.kind === "choices") found[name] = [...input.querySelectorAll(":checked")].map((each) => each.value);
    else if (field.kind === "file") found[name] = input.files[0];
    else if (isEmpty(input, field)) found[name] = undefined;
    else if (field.kind === "number") found[name] = Number(input.value);
    else found[name] = field.kind === "textarea" ? input.value : input.value.trim();
  }
  return found;
}

function tell({ input, problem }, text) {
  input.closest("details")?.setAttribute("open", "");
  problem.textContent = text;
  problem.hidden = false;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

function clear(inputs, general) {
  general.hidden = true;
  for (const { input, problem } of inputs.values()) {
    problem.hidden = true;
    input.removeAttribute("aria-invalid");
  }
}

// Puts the fields that are `within: "more"` under a heading that opens: most people leave them alone.
export function folded(form, title) {
  const rows = [...form.querySelectorAll('[data-within="more"]')];
  const details = h("details", {}, h("summary", {}, title));
  rows[0].before(details);
  details.append(...rows);
  return form;
}
