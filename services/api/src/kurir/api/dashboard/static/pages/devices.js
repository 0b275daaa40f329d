// Every device and how it is, as it changes.

import { get, post } from "../api.js";
import { button, dialog, draw, empty, h, status, table, time } from "../dom.js";
import { folded, form } from "../forms.js";
import { reloadOn } from "../live.js";
import { person, plain, toneOf } from "../words.js";

export async function show(page) {
  const list = h("section");
  page.main.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Devices"),
      button("New device", create, { class: "primary" }),
    ),
    list,
  );
  await reloadOn({
    events: "device.status",
    signal: page.signal,
    connection: page.connection,
    reload: async () => draw(list, shown(await get("devices", {}, page.signal))),
  });
}

function shown(devices) {
  if (devices.length === 0) return empty("No device yet. A device is one WhatsApp number, linked like WhatsApp Web.");
  const rows = devices.map((device) => [
    h("a", { class: "row", href: `#/devices/${device.id}` }, device.name),
    [status(plain(device.status), toneOf(device.status)), device.reasonMessage && h("small", {}, device.reasonMessage)],
    [person(device.phoneNumber), device.pushName && h("small", {}, device.pushName)],
    device.engine === "neonize" ? "WhatsApp" : "Sandbox",
    time(device.createdAt),
  ]);
  return table("Devices", ["Name", "Status", "Number", "Engine", "Created"], rows);
}

function create() {
  const box = dialog(
    "New device",
    folded(
      form({
        fields: [
          { name: "name", label: "Name", maxlength: 100, hint: "For you to know it by." },
          {
            name: "engine",
            label: "Engine",
            kind: "select",
            options: [
              ["", "As this installation does"],
              ["neonize", "WhatsApp"],
              ["sandbox", "Sandbox: no phone, for tests"],
            ],
            optional: true,
          },
          ...limits({ pacePerMinute: 30 }),
          {
            name: "proxy",
            label: "Proxy",
            optional: true,
            within: "more",
            placeholder: "socks5://user:password@host:1080",
          },
        ],
        action: "Create",
        cancel: () => box.close(),
        submit: async (values) => {
          const device = await post("devices", values);
          location.hash = `#/devices/${device.id}`;
        },
      }),
      "Limits and proxy",
    ),
  );
}

export function limits(device) {
  return [
    {
      name: "pacePerMinute",
      label: "Pace, messages a minute",
      kind: "number",
      min: 0,
      value: device.pacePerMinute,
      hint: "How fast it sends at most; 0 is as fast as messages come.",
      optional: true,
      within: "more",
    },
    {
      name: "ratePerMinute",
      label: "Limit, messages a minute",
      kind: "number",
      min: 1,
      value: device.ratePerMinute,
      hint: "How many are accepted at most. Empty: your plan's limit.",
      optional: true,
      within: "more",
    },
    {
      name: "undeliveredAfter",
      label: "Undelivered after, seconds",
      kind: "number",
      min: 60,
      max: 86400,
      value: device.undeliveredAfter,
      hint: "Says so of messages that no phone has confirmed by then. Empty: never.",
      optional: true,
      within: "more",
    },
  ];
}
