// One device: its state as it changes, pairing by QR or phone code, and what can be done with it.

import { get, patch, post, remove } from "../api.js";
import {
  button,
  confirmed,
  copyable,
  dialog,
  draw,
  facts,
  failed,
  h,
  notice,
  say,
  status,
  table,
  time,
} from "../dom.js";
import { form } from "../forms.js";
import { followDevice } from "../live.js";
import { person, plain, toneOf } from "../words.js";
import { limits } from "./devices.js";

const IDLE = ["DISCONNECTED", "LOGGED_OUT", "REPLACED", "BANNED", "OUTDATED", "PASSKEY_REQUIRED"];

export async function show(page, id) {
  const path = `devices/${encodeURIComponent(id)}`;
  const state = { device: await get(path, {}, page.signal), qr: null };
  const parts = {
    head: h("div", { class: "head" }),
    pairing: h("section", { "aria-live": "polite" }),
    details: h("section"),
  };
  const groups = h("section");
  page.main.replaceChildren(
    h("p", { class: "trail" }, h("a", { href: "#/devices" }, "Devices")),
    ...Object.values(parts),
    groups,
  );

  const redraw = () => {
    if (page.signal.aborted) return;
    draw(parts.head, ...head(state.device));
    draw(parts.pairing, ...pairing(state, actions));
    draw(parts.details, actionsOf(state.device, actions), details(state.device));
  };
  const reload = async () => {
    state.device = await get(path, {}, page.signal);
    if (state.device.status !== "QR") state.qr = null;
    redraw();
  };
  const actions = {
    connect: async (body) => {
      await post(`${path}/connect`, body);
      await reload();
    },
    scan: async () => {
      await post(`${path}/sandbox/scan`, {});
      say("Scanned, as a phone would.");
    },
    disconnect: async () => {
      const text = "It stays linked; messages wait until it is connected again.";
      if (!(await confirmed({ title: `Disconnect ${state.device.name}?`, text, action: "Disconnect" }))) return;
      await post(`${path}/disconnect`);
      await reload();
    },
    logout: async () => {
      const text = "It is unlinked from its WhatsApp account and has to be paired again.";
      if (!(await confirmed({ title: `Log ${state.device.name} out?`, text, action: "Log out" }))) return;
      await post(`${path}/logout`);
      say("It is being unlinked.");
    },
    remove: async () => {
      const text = "Its session ends and it is forgotten. Messages that wait for it are not sent.";
      if (!(await confirmed({ title: `Delete ${state.device.name}?`, text, action: "Delete" }))) return;
      await remove(path);
      location.hash = "#/devices";
    },
    change: () => change(state.device, path, reload),
    byCode: () => byCode(actions.connect),
    groups: async () => groups.replaceChildren(groupsOf(await get(`${path}/groups`, {}, page.signal))),
  };
  redraw();
  void followDevice({
    deviceId: id,
    signal: page.signal,
    connection: page.connection,
    heard: (name, data) => {
      if (name === "qr") {
        state.qr = data;
        redraw();
      } else void reload().catch(() => {});
    },
  }).catch(failed);
}

function head(device) {
  return [
    h("h1", { tabindex: "-1" }, device.name),
    status(plain(device.status), toneOf(device.status)),
    h("a", { class: "button", href: `#/send?deviceId=${encodeURIComponent(device.id)}` }, "Send a message"),
  ];
}

function pairing({ device, qr }, actions) {
  const scan = device.engine === "sandbox" && button("Scan as the sandbox's phone", actions.scan, { class: "primary" });
  if (device.status === "QR" && qr) {
    return [
      h(
        "div",
        { class: "pairing" },
        h("img", { src: qr.dataUrl, alt: "QR code to scan with WhatsApp", width: 264, height: 264 }),
        h(
          "div",
          {},
          h("h2", {}, "Scan this code"),
          h(
            "ol",
            {},
            h("li", {}, "Open WhatsApp on the phone."),
            h("li", {}, "Settings, Linked devices, Link a device."),
            h("li", {}, "Point the phone here."),
          ),
          h(
            "p",
            { class: "hint" },
            "A new code comes before this one runs out ",
            qr.expiresAt && ["at ", time(qr.expiresAt)],
            ".",
          ),
          h("div", { class: "actions start" }, scan, button("Use a code to type instead", actions.byCode)),
        ),
      ),
    ];
  }
  if (device.status === "PAIRING_CODE" && device.pairingCode) {
    return [
      h(
        "div",
        { class: "pairing" },
        h("output", { class: "code" }, device.pairingCode),
        h(
          "div",
          {},
          h("h2", {}, "Type this code on the phone"),
          h("p", {}, "WhatsApp, Settings, Linked devices, Link a device, Link with phone number instead."),
          h("div", { class: "actions start" }, scan),
        ),
      ),
    ];
  }
  if (device.reasonMessage && device.status !== "CONNECTED" && device.reason !== "requested") {
    return [notice(toneOf(device.status) === "bad" ? "bad" : "warn", device.reasonMessage)];
  }
  return [];
}

function actionsOf(device, actions) {
  const isIdle = IDLE.includes(device.status);
  return h(
    "div",
    { class: "actions start" },
    isIdle && button("Connect", () => actions.connect({}), { class: "primary" }),
    isIdle && button("Connect by phone code", actions.byCode),
    !isIdle && button("Disconnect", actions.disconnect),
    device.status === "CONNECTED" && button("Show groups", actions.groups),
    button("Settings", actions.change),
    device.status === "CONNECTED" && button("Log out", actions.logout, { class: "danger quiet" }),
    button("Delete", actions.remove, { class: "danger quiet" }),
  );
}

function details(device) {
  return facts(
    ["Id", copyable(device.id)],
    ["Number", person(device.phoneNumber)],
    ["Name on WhatsApp", device.pushName],
    ["Engine", device.engine === "neonize" ? "WhatsApp" : "Sandbox"],
    ["Pace", device.pacePerMinute ? `${device.pacePerMinute} messages a minute` : "as fast as messages come"],
    ["Limit", device.ratePerMinute ? `${device.ratePerMinute} messages a minute` : "your plan's"],
    ["Undelivered after", device.undeliveredAfter && `${device.undeliveredAfter} s`],
    ["Proxy", device.proxy],
    ["Created", time(device.createdAt)],
    ["Messages", h("a", { href: `#/messages?deviceId=${encodeURIComponent(device.id)}` }, "of this device")],
  );
}

function byCode(connect) {
  const box = dialog(
    "Connect by phone code",
    form({
      fields: [
        {
          name: "phoneNumber",
          label: "Phone number",
          kind: "tel",
          hint: "Of the phone that WhatsApp runs on, with country code.",
        },
      ],
      action: "Get a code",
      cancel: () => box.close(),
      submit: async (values) => {
        await connect(values);
        box.close();
      },
    }),
  );
}

function change(device, path, reload) {
  const box = dialog(
    "Device settings",
    form({
      fields: [{ name: "name", label: "Name", value: device.name, maxlength: 100 }, ...limits(device)],
      action: "Save",
      cancel: () => box.close(),
      submit: async ({ name, pacePerMinute = 0, ratePerMinute = null, undeliveredAfter = null }) => {
        await patch(path, { name, pacePerMinute, ratePerMinute, undeliveredAfter });
        box.close();
        await reload();
      },
    }),
  );
}

function groupsOf({ groups, next }) {
  if (groups.length === 0) return notice("idle", "This device is in no group.");
  const rows = groups.map((group) => [group.subject, String(group.memberCount), copyable(group.id)]);
  const more = next && h("p", { class: "hint" }, "There are more; the API has them all.");
  return h("div", {}, h("h2", {}, "Groups"), table("Groups", ["Subject", "Members", "Id"], rows), more);
}
