// For operators: one tenant, its limits and its keys.

import { get, patch, remove } from "../api.js";
import { button, confirmed, copyable, dialog, facts, h, notice, status, time } from "../dom.js";
import { form } from "../forms.js";
import { manageKeys } from "./keys.js";
import { tenantFields } from "./tenants.js";

export async function show(page, id) {
  const path = `tenants/${encodeURIComponent(id)}`;
  const about = h("section");
  const keys = h("section");
  page.main.replaceChildren(h("p", { class: "trail" }, h("a", { href: "#/tenants" }, "Tenants")), about, keys);
  const reload = async () => about.replaceChildren(...shown(await get(path, {}, page.signal), path, reload));
  await reload();
  await manageKeys({ page, path: `${path}/keys`, title: h("h2", {}, "Keys"), into: keys });
}

function shown(tenant, path, reload) {
  const set = async (active) => {
    const text = "Its keys are refused from now on. What it has is kept, and its devices stay connected.";
    if (!active && !(await confirmed({ title: `Switch ${tenant.name} off?`, text, action: "Switch off" }))) return;
    await patch(path, { active });
    await reload();
  };
  const drop = async () => {
    const text = "Its keys, webhooks and devices are gone for good.";
    if (!(await confirmed({ title: `Delete ${tenant.name}?`, text, action: "Delete" }))) return;
    await remove(path);
    location.hash = "#/tenants";
  };
  return [
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, tenant.name),
      tenant.active ? status("Active", "ok") : status("Switched off", "bad"),
    ),
    ...(tenant.active ? [] : [notice("bad", "Its keys are refused.")]),
    h(
      "div",
      { class: "actions start" },
      tenant.active
        ? button("Switch off", () => set(false))
        : button("Switch on", () => set(true), { class: "primary" }),
      button("Settings", () => change(tenant, path, reload)),
      button("Delete", drop, { class: "danger quiet" }),
    ),
    facts(
      ["Id", copyable(tenant.id)],
      ["E-mail", tenant.email],
      ["Plan", tenant.plan],
      ["Country", tenant.country],
      ["Messages a minute", `${tenant.ratePerMinute} for each device`],
      ["Devices", `${tenant.maxDevices} at most`],
      ["Webhooks", `${tenant.maxEndpoints} at most`],
      ["History", tenant.keepDays ? `kept ${tenant.keepDays} days` : "kept as long as this installation does"],
      ["If a send's outcome is unknown", tenant.onUnknown === "resend" ? "it is sent again" : "it is reported"],
      ["Created", time(tenant.createdAt)],
    ),
  ];
}

function change(tenant, path, reload) {
  const box = dialog(
    "Tenant settings",
    form({
      fields: tenantFields(tenant),
      action: "Save",
      cancel: () => box.close(),
      submit: async ({ email = null, keepDays = null, ...values }) => {
        await patch(path, { ...values, email, keepDays });
        box.close();
        await reload();
      },
    }),
  );
}
