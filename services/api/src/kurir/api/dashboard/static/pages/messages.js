// Messages sent and received, newest first, as they come.

import { get } from "../api.js";
import { button, draw, empty, failed, h, status, table, time } from "../dom.js";
import { devicesByName, reloadOn } from "../live.js";
import { person, plain, preview, toneOf } from "../words.js";

const DIRECTIONS = [
  ["", "Sent and received"],
  ["outbound", "Sent"],
  ["inbound", "Received"],
];

export async function show(page) {
  const names = new Map(await devicesByName(page.signal));
  const wanted = { deviceId: page.query.deviceId, chat: page.query.chat, direction: page.query.direction };
  const rows = h("section");
  const older = h("div", { class: "actions start" });
  const problem = h("p", { class: "problem", role: "alert" });
  page.main.replaceChildren(
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Messages")),
    filters(names, wanted),
    problem,
    rows,
    older,
  );

  let shown = [];
  let isWholePast = false; // older pages are shown too: then what is new is not mixed in
  const redraw = (next) => {
    draw(rows, shown.length ? listed(shown, names) : empty("No message here."));
    draw(older, next && button("Older", () => further(next), { "data-next": next }));
  };
  const further = async (cursor) => {
    const more = await get("messages", { ...wanted, cursor }, page.signal);
    isWholePast = true;
    shown = [...shown, ...more.messages];
    redraw(more.next);
  };
  const reload = async () => {
    if (isWholePast) return;
    try {
      const first = await get("messages", wanted, page.signal);
      if (isWholePast) return; // by now
      problem.textContent = "";
      shown = first.messages;
      redraw(first.next);
    } catch (error) {
      if (error.status !== 400 && error.status !== 503) throw error;
      problem.textContent = error.message;
    }
  };
  await reloadOn({
    events: "message.received,message.status,send.message.queued",
    deviceId: wanted.deviceId,
    signal: page.signal,
    connection: page.connection,
    everyMs: 1500,
    reload,
  }).catch((error) => {
    if (error.status === 404) throw error;
    failed(error);
  });
}

function filters(names, wanted) {
  const choose = (name, label, options) => {
    const pairs = options.map(([value, text]) => h("option", { value }, text));
    const chosen = h("select", { name, id: `by-${name}` }, pairs);
    chosen.value = wanted[name] ?? "";
    return h("div", { class: "field" }, h("label", { for: `by-${name}` }, label), chosen);
  };
  const chat = h("input", { name: "chat", id: "by-chat", value: wanted.chat ?? "", placeholder: "6281234567890" });
  const asked = h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter messages" },
    choose("deviceId", "Device", [["", "All devices"], ...names]),
    h("div", { class: "field" }, h("label", { for: "by-chat" }, "Chat"), chat),
    choose("direction", "Direction", DIRECTIONS),
    h("button", { type: "submit" }, "Show"),
  );
  const go = (event) => {
    event.preventDefault();
    const given = [...new FormData(asked)].filter(([, value]) => value);
    location.hash = `#/messages?${new URLSearchParams(given)}`;
  };
  asked.addEventListener("submit", go);
  asked.addEventListener("change", (event) => event.target.matches("select") && go(event));
  return asked;
}

function listed(messages, names) {
  const rows = messages.map((message) => [
    time(message.timestamp),
    [h("span", { class: "way" }, message.direction === "inbound" ? "← from " : "→ to "), person(message.chat)],
    h("a", { class: "row clip", href: `#/messages/${message.id}` }, preview(message) || "(empty)"),
    h("span", { class: "clip short" }, names.get(message.deviceId) ?? message.deviceId),
    [status(plain(message.status), toneOf(message.status)), message.error && h("small", {}, message.error.message)],
  ]);
  return table("Messages", ["Time", "Chat", "Message", "Device", "Status"], rows);
}
