// The account's keys: who may act for it, and ending that.

import { get, key, post, remove } from "../api.js";
import { button, confirmed, dialog, facts, h, say, shownOnce, table, time } from "../dom.js";
import { form } from "../forms.js";
import { devicesByName } from "../live.js";

export async function show(page) {
  const names = await devicesByName(page.signal);
  await manageKeys({ page, path: "auth/keys", names, title: h("h1", { tabindex: "-1" }, "Keys"), into: page.main });
  page.main.append(
    h("h2", {}, "Your account"),
    facts(
      ["Name", page.me.name],
      ["Plan", page.me.plan],
      ["E-mail", page.me.email],
      ["Since", time(page.me.createdAt)],
    ),
    h("div", { class: "actions start" }, button("Replace my key", replace)),
  );
}

// A list of keys under `path`, for tenants of their own and for operators of anybody's.
export async function manageKeys({ page, path, names, title, into }) {
  const list = h("section");
  into.replaceChildren(
    h(
      "div",
      { class: "head" },
      title,
      button("New key", () => create(path, names, reload), { class: "primary" }),
    ),
    list,
  );
  async function reload() {
    const keys = await get(path, {}, page.signal);
    const rows = keys.map((each) => [
      each.name,
      [h("code", {}, `…${each.hint}`), key.get().endsWith(each.hint) && h("small", {}, "the one you use")],
      each.deviceId ? (new Map(names).get(each.deviceId) ?? each.deviceId) : "All devices",
      time(each.createdAt),
      button("Revoke", () => revoke(path, each, reload), {
        class: "danger quiet",
        "aria-label": `Revoke ${each.name}`,
      }),
    ]);
    list.replaceChildren(table("Keys", ["Name", "Ends in", "Acts for", "Created", ""], rows));
  }
  await reload();
}

function create(path, names, reload) {
  const box = dialog(
    "New key",
    form({
      fields: [
        { name: "name", label: "Name", maxlength: 100, hint: "Who or what uses it." },
        names && {
          name: "deviceId",
          label: "Acts for",
          kind: "select",
          options: [["", "All devices"], ...names],
          optional: true,
        },
      ].filter(Boolean),
      action: "Create",
      cancel: () => box.close(),
      submit: async (values) => {
        const made = await post(path, values);
        box.close();
        await shownOnce({
          title: "The new key",
          text: "Store it now; it is shown this once.",
          values: { Key: made.apiKey },
        });
        await reload();
      },
    }),
  );
}

async function revoke(path, each, reload) {
  const text = "Whoever uses it is refused from now on.";
  if (!(await confirmed({ title: `Revoke ${each.name}?`, text, action: "Revoke" }))) return;
  await remove(`${path}/${encodeURIComponent(each.id)}`);
  await reload().finally(() => say("Revoked."));
}

async function replace() {
  const text = "The one that you signed in with ends at once, wherever it is used.";
  if (!(await confirmed({ title: "Replace your key?", text, action: "Replace" }))) return;
  const made = await post("auth/rotate-key");
  key.set(made.apiKey);
  await shownOnce({
    title: "Your new key",
    text: "Store it now; it is shown this once.",
    values: { Key: made.apiKey },
  });
}
