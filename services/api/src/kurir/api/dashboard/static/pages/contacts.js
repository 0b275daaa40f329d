// The account's address book: names for numbers, and groups of them.

import { get, patch, post, remove } from "../api.js";
import { button, confirmed, dialog, h, say, table } from "../dom.js";
import { form } from "../forms.js";

export async function show(page) {
  const people = h("section");
  const groups = h("section");
  page.main.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Contacts"),
      button("Add contact", () => editContact(null, reload), { class: "primary" }),
    ),
    people,
    h("div", { class: "head" }, h("h2", {}, "Groups"), button("Add group", () => editGroup(null, reload))),
    groups,
  );
  async function reload() {
    const [contacts, known] = await Promise.all([
      get("contacts", {}, page.signal),
      get("contact-groups", {}, page.signal),
    ]);
    people.replaceChildren(
      contacts.length
        ? table("Contacts", ["Name", "Number", "Group", ""], contacts.map((each) => contactRow(each, reload)))
        : h("p", { class: "hint" }, "No contacts yet."),
    );
    groups.replaceChildren(
      known.length
        ? table("Groups", ["Name", "Contacts", ""], known.map((each) => groupRow(each, reload)))
        : h("p", { class: "hint" }, "No groups yet."),
    );
  }
  await reload();
}

function contactRow(each, reload) {
  return [
    each.name,
    each.number,
    each.group ?? "",
    [
      button("Edit", () => editContact(each, reload), { class: "quiet", "aria-label": `Edit ${each.name}` }),
      button("Delete", () => removed(`contacts/${encodeURIComponent(each.id)}`, each.name, "", reload), {
        class: "danger quiet",
        "aria-label": `Delete ${each.name}`,
      }),
    ],
  ];
}

function groupRow(each, reload) {
  const path = `contact-groups/${encodeURIComponent(each.id)}`;
  return [
    each.name,
    String(each.contacts),
    [
      button("Rename", () => editGroup(each, reload), { class: "quiet", "aria-label": `Rename ${each.name}` }),
      button("Delete", () => removed(path, each.name, "Its contacts stay.", reload), {
        class: "danger quiet",
        "aria-label": `Delete the group ${each.name}`,
      }),
    ],
  ];
}

async function editContact(known, reload) {
  const groups = await get("contact-groups");
  const box = dialog(
    known ? `Edit ${known.name}` : "New contact",
    form({
      fields: [
        { name: "name", label: "Name", maxlength: 100, value: known?.name },
        { name: "number", label: "Number", kind: "tel", maxlength: 64, value: known?.number },
        {
          name: "groupId",
          label: "Group",
          kind: "select",
          options: [["", "None"], ...groups.map((each) => [each.id, each.name])],
          value: known?.groupId ?? "",
          optional: true,
        },
      ],
      action: known ? "Save" : "Add",
      cancel: () => box.close(),
      submit: async (values) => {
        const body = { ...values, groupId: values.groupId || null };
        await (known ? patch(`contacts/${encodeURIComponent(known.id)}`, body) : post("contacts", body));
        box.close();
        await reload().finally(() => say("Saved."));
      },
    }),
  );
}

function editGroup(known, reload) {
  const box = dialog(
    known ? `Rename ${known.name}` : "New group",
    form({
      fields: [{ name: "name", label: "Name", maxlength: 100, value: known?.name }],
      action: known ? "Save" : "Add",
      cancel: () => box.close(),
      submit: async (values) => {
        await (known ? patch(`contact-groups/${encodeURIComponent(known.id)}`, values) : post("contact-groups", values));
        box.close();
        await reload().finally(() => say("Saved."));
      },
    }),
  );
}

async function removed(path, name, text, reload) {
  if (!(await confirmed({ title: `Delete ${name}?`, text, action: "Delete" }))) return;
  await remove(path);
  await reload().finally(() => say("Deleted."));
}
