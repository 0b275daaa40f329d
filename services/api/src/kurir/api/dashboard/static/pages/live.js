// Everything that happens, as it happens.

import { button, empty, h, notice, time } from "../dom.js";
import { devicesByName, follow } from "../live.js";

const MOST = 300; // lines; older ones are let go

export async function show(page) {
  const names = await devicesByName(page.signal);
  const wanted = { events: page.query.events || "*,send.message.*", deviceId: page.query.deviceId ?? "" };
  const list = h("ol", { class: "feed" });
  const waiting = h("section", {}, empty("Nothing yet. Send a message, or write to one of your numbers."));
  const state = h("span", { class: "status busy", role: "status" }, "Connecting");
  let held = null; // what came while the list stood still

  const add = (events) => {
    if (events.length === 0) return;
    waiting.hidden = true;
    list.prepend(...events.map(line).reverse());
    while (list.children.length > MOST) list.lastChild.remove();
  };
  const hold = button("Pause", () => {
    if (held) add(held);
    held = held ? null : [];
    hold.textContent = held ? "Go on" : "Pause";
    hold.setAttribute("aria-pressed", String(held !== null));
  });
  page.main.replaceChildren(
    h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Live"),
      state,
      hold,
      button("Clear", () => list.replaceChildren()),
    ),
    filters(names, wanted),
    waiting,
    list,
  );

  let arrived = [];
  void follow({
    ...wanted,
    signal: page.signal,
    heard: (event) => {
      if (held) return held.length < MOST ? held.push(event) : undefined;
      if (arrived.push(event) === 1) {
        requestAnimationFrame(() => {
          add(arrived.slice(-MOST));
          arrived = [];
        });
      }
      return undefined;
    },
    connection: (isUp) => {
      page.connection(isUp);
      state.className = `status ${isUp ? "ok" : "warn"}`;
      state.textContent = isUp ? "Following" : "Reconnecting";
    },
  }).catch((error) => {
    waiting.replaceChildren(notice("bad", error.message));
    state.className = "status bad";
    state.textContent = "Not following";
  });
}

function filters(names, wanted) {
  const devices = [["", "All devices"], ...names].map(([value, text]) => h("option", { value }, text));
  const device = h("select", { name: "deviceId", id: "of-device" }, devices);
  device.value = wanted.deviceId;
  const asked = h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter events" },
    h(
      "div",
      { class: "field" },
      h("label", { for: "of-events" }, "Events"),
      h("input", { name: "events", id: "of-events", value: wanted.events }),
    ),
    h("div", { class: "field" }, h("label", { for: "of-device" }, "Device"), device),
    h("button", { type: "submit" }, "Follow"),
  );
  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/live?${new URLSearchParams(new FormData(asked))}`;
  });
  return asked;
}

function line(event) {
  const inside = h("pre", { tabindex: "0" });
  const details = h(
    "details",
    {},
    h(
      "summary",
      {},
      time(event.timestamp),
      h("strong", {}, event.event),
      h("span", { class: "clip" }, gist(event.data ?? {})),
    ),
    inside,
  );
  details.addEventListener("toggle", () => (inside.textContent = JSON.stringify(event, null, 2)), { once: true });
  return h("li", {}, details);
}

function gist(data) {
  const text = data.content?.conversation ?? data.content?.extendedTextMessage?.text ?? data.type;
  const parts = [
    data.status,
    data.remoteJid ?? data.phoneNumber,
    data.pushName,
    text,
    data.reason,
    data.error?.message,
    data.deviceId,
  ];
  return parts.filter((part) => typeof part === "string").join(" · ");
}
