// Signing in: a key, which stays in this tab and ends with it.

import { key, request } from "../api.js";
import { h, notice } from "../dom.js";
import { form } from "../forms.js";

export function signIn({ reason, entered }) {
  const enter = async ({ apiKey }) => {
    try {
      await request("GET", "auth/me", { as: apiKey });
    } catch (error) {
      if (error.status === 401 || error.status === 403) error.field = "apiKey";
      throw error;
    }
    key.set(apiKey);
    await entered();
  };
  const fields = [
    {
      name: "apiKey",
      label: "API key",
      kind: "password",
      hint: "It stays in this tab, and is forgotten when you close it or sign out.",
      spellcheck: "false",
      autocomplete: "off",
    },
  ];
  return h(
    "main",
    { class: "sign-in" },
    h("img", { src: new URL("../logo.svg", import.meta.url), alt: "", width: 40 }),
    h("h1", {}, "Kurir"),
    reason && notice("warn", reason),
    form({ fields, action: "Sign in", submit: enter }),
  );
}
