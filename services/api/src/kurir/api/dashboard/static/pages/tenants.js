// For operators: whose devices run here.

import { get, post } from "../api.js";
import { button, dialog, empty, h, status, table, time } from "../dom.js";
import { form } from "../forms.js";

export async function show(page) {
  const tenants = await get("tenants", {}, page.signal);
  const rows = tenants.map((tenant) => [
    [
      h("a", { class: "row", href: `#/tenants/${tenant.id}` }, tenant.name),
      tenant.email && h("small", {}, tenant.email),
    ],
    tenant.active ? status("Active", "ok") : status("Switched off", "bad"),
    tenant.plan,
    h("code", {}, tenant.id),
    time(tenant.createdAt),
  ]);
  page.main.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Tenants"),
      button("New tenant", create, { class: "primary" }),
    ),
    rows.length ? table("Tenants", ["Name", "State", "Plan", "Id", "Created"], rows) : empty("No tenant yet."),
  );
}

function create() {
  const box = dialog(
    "New tenant",
    form({
      fields: tenantFields({ plan: "standard", country: "ID", ratePerMinute: 30, maxDevices: 100, maxEndpoints: 100 }),
      action: "Create",
      cancel: () => box.close(),
      submit: async (values) => {
        const made = await post("tenants", values);
        location.hash = `#/tenants/${made.id}`;
      },
    }),
  );
}

export function tenantFields(tenant) {
  const number = (name, label, hint) => ({
    name,
    label,
    hint,
    kind: "number",
    min: 0,
    value: tenant[name],
    optional: true,
  });
  return [
    { name: "name", label: "Name", value: tenant.name, maxlength: 100 },
    { name: "email", label: "E-mail", kind: "email", value: tenant.email, optional: true },
    { name: "plan", label: "Plan", value: tenant.plan },
    {
      name: "country",
      label: "Country",
      value: tenant.country,
      maxlength: 2,
      hint: "Where numbers without country code are read.",
    },
    number("ratePerMinute", "Messages a minute and device"),
    number("maxDevices", "Devices at most"),
    number("maxEndpoints", "Webhooks at most"),
    number("keepDays", "History is kept, days", "Empty: as long as this installation keeps it."),
  ];
}
