// Where events are sent, and whether they arrive there.

import { get, post } from "../api.js";
import { button, dialog, draw, empty, failed, h, say, shownOnce, status, table, time } from "../dom.js";
import { folded, form } from "../forms.js";
import { devicesByName, follow, reloadEvery } from "../live.js";
import { aboutEndpoint, health } from "../words.js";

const COMMON = [
  ["message.received", "Messages received"],
  ["message.status", "What became of messages sent"],
  ["device.status", "Devices that connect or drop"],
  ["endpoint.*", "Other webhooks that fail, recover or give up"],
  ["*", "Everything, but for what is only under way"],
];

export async function show(page) {
  const names = await devicesByName(page.signal);
  const list = h("section");
  page.main.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Webhooks"),
      button("New webhook", () => create(names), { class: "primary" }),
    ),
    list,
  );
  tellOfEndpoints(page);
  await reloadEvery(5000, page.signal, async () => draw(list, shown(await get("webhooks", {}, page.signal))));
}

// Says what becomes of webhooks while the page is open, and calls `heard` then.
export function tellOfEndpoints({ signal, connection }, heard = () => {}) {
  const tell = (event) => {
    say(...aboutEndpoint(event));
    heard();
  };
  follow({ events: "endpoint.*", signal, connection, heard: tell }).catch(failed);
}

function shown(webhooks) {
  if (webhooks.length === 0)
    return empty("No webhook yet. A webhook tells your own server what happens, signed and repeated until it answers.");
  const rows = webhooks.map((webhook) => {
    const [word, tone] = health(webhook);
    const since = webhook.failingSince && h("small", {}, "since ", time(webhook.failingSince));
    return [
      h("a", { class: "row clip", href: `#/webhooks/${webhook.id}` }, webhook.url),
      [status(word, tone), webhook.disabledReason ? h("small", {}, webhook.disabledReason) : since],
      h("span", { class: "clip" }, webhook.events.join(", ")),
      time(webhook.createdAt),
    ];
  });
  return table("Webhooks", ["URL", "Health", "Events", "Created"], rows);
}

function create(names) {
  const box = dialog(
    "New webhook",
    webhookForm({
      names,
      webhook: { events: COMMON.slice(0, 3).map(([event]) => event), signatures: ["standard", "device_gateway"] },
      action: "Create",
      cancel: () => box.close(),
      submit: async (values) => {
        const made = await post("webhooks", values);
        box.close();
        const text = "Your server verifies with it that requests come from here. It is shown this once.";
        await shownOnce({
          title: "The webhook's secret",
          text,
          values: { Secret: made.secret, "Public key": made.publicKey },
        });
        location.hash = `#/webhooks/${made.id}`;
      },
    }),
  );
}

// The form of a new or a known webhook. `submit` gets a body for the API.
export function webhookForm({ names, webhook, action, cancel, submit }) {
  const common = COMMON.map(([event]) => event);
  const others = (webhook.events ?? []).filter((event) => !common.includes(event));
  const filter = webhook.filter ?? {};
  const written = Object.entries(webhook.headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  const fields = [
    { name: "url", label: "URL", kind: "url", value: webhook.url, placeholder: "https://" },
    { name: "events", label: "Events", kind: "choices", options: COMMON, value: webhook.events },
    {
      name: "others",
      label: "Other events",
      value: others.join(", "),
      optional: true,
      hint: "Names or patterns, e.g. groups.*, split by commas.",
    },
    {
      name: "deviceId",
      label: "Device",
      kind: "select",
      options: [["", "All devices"], ...names],
      value: webhook.deviceId ?? "",
      optional: true,
    },
    {
      name: "signatures",
      label: "Signatures",
      kind: "choices",
      options: ["standard", "ed25519", "device_gateway", "body_hmac", "none"],
      value: webhook.signatures,
      within: "more",
    },
    {
      name: "payload",
      label: "Shape of the body",
      kind: "select",
      options: ["device_gateway", "native", "evolution", "fonnte", "baileys_gateway", "rk_connect"],
      value: webhook.payload,
      within: "more",
    },
    {
      name: "direction",
      label: "Direction",
      kind: "select",
      options: [
        ["", "Both"],
        ["in", "What others wrote"],
        ["out", "What your numbers wrote"],
      ],
      value: filter.direction ?? "",
      optional: true,
      within: "more",
    },
    {
      name: "chats",
      label: "Chats",
      value: (filter.chats ?? []).join(", "),
      optional: true,
      hint: "Phone numbers or ids, split by commas. Empty: all.",
      within: "more",
    },
    {
      name: "headers",
      label: "Headers",
      kind: "textarea",
      value: written.join("\n"),
      placeholder: "Authorization: Bearer …",
      optional: true,
      hint: "One a line, sent along. Values are kept sealed and shown as ***.",
      within: "more",
    },
    { name: "inOrder", label: "One at a time, in order", kind: "checkbox", value: webhook.inOrder, within: "more" },
    {
      name: "headTimeout",
      label: "In order: wait for a failing event, seconds",
      kind: "number",
      min: 1,
      value: webhook.headTimeout ?? 300,
      within: "more",
    },
    {
      name: "maxInFlight",
      label: "Requests at once",
      kind: "number",
      min: 1,
      max: 100,
      value: webhook.maxInFlight ?? 10,
      within: "more",
    },
    {
      name: "maxPerSecond",
      label: "Requests a second",
      kind: "number",
      min: 1,
      value: webhook.maxPerSecond,
      optional: true,
      hint: "Empty: as fast as events come.",
      within: "more",
    },
  ];
  const send = async ({ events, others: more, direction, chats, headers, ...rest }) => {
    const wanted = { ...filter, direction: direction ?? null, chats: split(chats) };
    await submit({ ...rest, events: [...events, ...split(more)], filter: wanted, headers: headersIn(headers) });
  };
  return folded(form({ fields, action, cancel, submit: send }), "Signatures, filters, limits");
}

function split(text) {
  return (text ?? "")
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
}

function headersIn(text) {
  const lines = (text ?? "").split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => line.split(/:(.*)/s, 2).map((part) => part.trim())));
}
