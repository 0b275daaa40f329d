// The frame around every page: who is signed in, where they are, and what is shown when a page cannot be.

import { get, key, onRefused } from "./api.js";
import { button, h, notice } from "./dom.js";
import { signIn } from "./pages/sign_in.js";
import * as contacts from "./pages/contacts.js";
import * as device from "./pages/device.js";
import * as devices from "./pages/devices.js";
import * as keys from "./pages/keys.js";
import * as live from "./pages/live.js";
import * as message from "./pages/message.js";
import * as messages from "./pages/messages.js";
import * as send from "./pages/send.js";
import * as tenant from "./pages/tenant.js";
import * as tenants from "./pages/tenants.js";
import * as webhook from "./pages/webhook.js";
import * as webhooks from "./pages/webhooks.js";

const OF_TENANTS = {
  devices: ["Devices", devices, device],
  send: ["Compose", send],
  messages: ["Messages", messages, message],
  contacts: ["Contacts", contacts],
  webhooks: ["Webhooks", webhooks, webhook],
  live: ["Live", live],
  keys: ["Keys", keys],
};
const OF_OPERATORS = { tenants: ["Tenants", tenants, tenant] };

let left = new AbortController(); // aborted when the page is left

async function start() {
  onRefused(() => signOut("Your key is no longer known; it may have been revoked or rotated."));
  window.addEventListener("hashchange", show);
  await show();
}

function signOut(reason) {
  key.forget();
  left.abort();
  document.querySelectorAll("dialog").forEach((each) => each.close());
  document.body.replaceChildren(signIn({ reason, entered: show }));
  document.title = "Sign in · Kurir";
  document.querySelector("input").focus();
}

async function show() {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  document.querySelectorAll("dialog").forEach((each) => each.close());
  if (!key.get()) return signOut();
  let me;
  try {
    me = await get("auth/me", {}, signal);
  } catch (error) {
    if (signal.aborted || error.isSignedOut) return undefined;
    if (error.status === 403) return signOut(error.message);
    return document.body.replaceChildren(h("main", {}, couldNot(error)));
  }
  if (signal.aborted) return undefined;
  const isOperator = me.plan === "operator" && me.id.startsWith("key_");
  const places = isOperator ? OF_OPERATORS : OF_TENANTS;
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [asked, id] = path.split("/").map(decodeURIComponent);
  const place = asked in places ? asked : Object.keys(places)[0];
  const [title, list, one] = places[place];
  const page = {
    main: h("main", { id: "main", tabindex: "-1" }),
    query: Object.fromEntries(new URLSearchParams(search)),
    signal,
    me,
    connection,
  };
  document.body.replaceChildren(frame(me, places, place), page.main);
  document.querySelector("nav [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
  document.title = `${title} · Kurir`;
  await draw(id === undefined || !one ? list : one, page, id);
  if (!signal.aborted) page.main.querySelector("h1")?.focus();
  return undefined;
}

async function draw(shown, page, id) {
  page.main.setAttribute("aria-busy", "true");
  try {
    await shown.show(page, id);
  } catch (error) {
    if (page.signal.aborted || error.isSignedOut) return;
    page.main.replaceChildren(error.status === 404 ? notThere(error) : couldNot(error));
    if (!error.status) console.error(error);
  } finally {
    page.main.removeAttribute("aria-busy");
  }
}

function frame(me, places, place) {
  const links = Object.entries(places).map(([path, [title]]) =>
    h("a", { href: `#/${path}`, "aria-current": path === place ? "page" : null }, title),
  );
  return h(
    "header",
    { class: "frame" },
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the content"),
    h(
      "a",
      { class: "brand", href: "#/" },
      h("img", { src: new URL("logo.svg", import.meta.url), alt: "", width: 24 }),
      "Kurir",
    ),
    h("nav", { "aria-label": "Pages" }, links),
    h(
      "div",
      { class: "account" },
      h("span", { id: "connection", class: "status ok", hidden: true }),
      h("strong", {}, me.name),
      h("span", {}, me.plan),
      button("Sign out", () => signOut(), { class: "quiet" }),
    ),
  );
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

// Pages that follow events say here whether they still do.
function connection(isUp) {
  const light = document.getElementById("connection");
  if (!light) return;
  light.hidden = isUp;
  light.className = "status warn";
  light.textContent = isUp ? "" : "Reconnecting";
}

function notThere(error) {
  return h("div", { class: "empty" }, h("h1", { tabindex: "-1" }, "Not found"), h("p", {}, error.message));
}

function couldNot(error) {
  return h(
    "div",
    { class: "empty" },
    h("h1", { tabindex: "-1" }, "This could not be shown"),
    notice("bad", error.message),
    button("Try again", () => show()),
  );
}

await start();
