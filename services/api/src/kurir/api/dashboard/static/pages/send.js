// Sending a message, and seeing at once what becomes of it.

import { get, newIdempotencyKey, post } from "../api.js";
import { empty, h, notice, say } from "../dom.js";
import { folded, form } from "../forms.js";
import { plain } from "../words.js";
import { followMessage, storyOf } from "./message.js";

const KINDS = ["text", "image", "video", "audio", "document", "sticker"];

export async function show(page) {
  const devices = await get("devices", {}, page.signal);
  const title = h("h1", { tabindex: "-1" }, "Send a message");
  if (devices.length === 0) {
    const make = h("a", { class: "button primary", href: "#/devices" }, "Make a device");
    return page.main.replaceChildren(title, empty("Messages are sent by a device, and there is none yet.", make));
  }
  const result = h("section", { "aria-live": "polite" });
  let attempt = newIdempotencyKey();
  let watching = new AbortController();
  page.signal.addEventListener("abort", () => watching.abort());

  const written = folded(
    form({
      label: "Message",
      fields: [
        {
          name: "deviceId",
          label: "Device",
          kind: "select",
          options: devices.map((device) => [device.id, `${device.name} · ${plain(device.status)}`]),
          value: page.query.deviceId ?? (devices.find((device) => device.status === "CONNECTED") ?? devices[0]).id,
        },
        {
          name: "to",
          label: "To",
          placeholder: "6281234567890",
          hint: "A phone number with country code, or a group's id.",
        },
        { name: "kind", label: "Kind", kind: "select", options: KINDS.map((kind) => [kind, plain(kind)]) },
        { name: "text", label: "Text", kind: "textarea", optional: true },
        { name: "file", label: "File", kind: "file", optional: true, hint: "Or give its URL below." },
        { name: "url", label: "URL of the file", kind: "url", optional: true, placeholder: "https://" },
        {
          name: "sendAt",
          label: "Send at",
          kind: "datetime-local",
          optional: true,
          within: "more",
          hint: "In your time zone. Empty: now.",
        },
        {
          name: "priority",
          label: "Priority",
          kind: "select",
          options: ["normal", "high", "bulk"].map((each) => [each, plain(each)]),
          within: "more",
        },
        {
          name: "expiresIn",
          label: "Not sent any more after, seconds",
          kind: "number",
          min: 1,
          optional: true,
          within: "more",
        },
      ],
      action: "Send",
      submit: async (values) => {
        const accepted = await submit(values, attempt);
        attempt = newIdempotencyKey();
        say("Accepted: it is stored and will be sent.");
        watching.abort();
        watching = new AbortController();
        await watch(page, accepted.id, result, watching.signal);
      },
    }),
    "When and how",
  );
  // Another message is another request; the same one, sent again after a lost answer, is sent once.
  written.addEventListener("input", () => (attempt = newIdempotencyKey()));
  const fieldOf = (name) => written.elements[name].closest(".field");
  const adapt = () => {
    const isText = written.elements.kind.value === "text";
    fieldOf("file").hidden = fieldOf("url").hidden = isText;
    const label = fieldOf("text").querySelector("label");
    label.textContent = isText ? "Text" : "Caption";
  };
  written.elements.kind.addEventListener("change", adapt);
  adapt();
  return page.main.replaceChildren(title, h("div", { class: "columns" }, h("section", {}, written), result));
}

async function submit({ deviceId, to, kind, text, file, url, sendAt, priority, expiresIn }, idempotencyKey) {
  const common = { deviceId, to, priority, expiresIn, sendAt: sendAt && new Date(sendAt).toISOString() };
  const options = { headers: { "Idempotency-Key": idempotencyKey } };
  if (kind === "text") return post("messages/send-text", { ...common, text: text ?? "" }, options);
  if (!file) return post("messages/send-media", { ...common, kind, url: url ?? "", caption: text }, options);
  const parts = new FormData();
  for (const [name, value] of Object.entries({ ...common, kind, caption: text, fileName: file.name, file })) {
    if (value !== undefined) parts.append(name, value);
  }
  return post("messages/send-media", parts, options);
}

async function watch(page, id, result, signal) {
  const all = h("p", {}, h("a", { href: `#/messages/${id}` }, "Everything about this message"));
  const changed = (known) => result.replaceChildren(h("h2", {}, "What became of it"), storyOf(known), all);
  try {
    await followMessage(id, page, signal, changed);
  } catch (error) {
    if (error.status !== 404 && error.status !== 503) throw error;
    result.replaceChildren(notice("warn", "Its history cannot be read yet; the message is on its way. "), all);
  }
}
