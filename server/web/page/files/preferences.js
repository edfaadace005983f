// How answers are asked for: the settings dialog and the switch below the question, kept by the browser.

import { forget, recall, remember } from "./memory.js";

const NUMBERS = ["temperature", "top_k", "max_new_tokens", "search_k"]; // fields, and parameters of POST /invocations
const KEY = "api_key";
const RETRIEVAL = "retrieval";

const field = (name) => document.getElementById(name);

export function parameters() {
  const given = NUMBERS.map((name) => [name, recall(name)]);
  return {
    ...Object.fromEntries(given.filter(([, value]) => value).map(([name, value]) => [name, Number(value)])),
    ...(field(RETRIEVAL).checked ? {} : { no_retrieval: true }),
  };
}

export function setUpPreferences() {
  const dialog = field("settings");
  field("open-settings").addEventListener("click", () => dialog.showModal());
  field("close-settings").addEventListener("click", () => dialog.close());
  field("reset-settings").addEventListener("click", () => {
    [...NUMBERS, KEY].forEach((id) => set(id, ""));
  });
  for (const id of [...NUMBERS, KEY]) {
    field(id).value = recall(id) ?? "";
    field(id).addEventListener("change", () => set(id, field(id).validity.valid ? field(id).value : ""));
  }
  field(RETRIEVAL).checked = recall(RETRIEVAL) !== "off";
  field(RETRIEVAL).addEventListener("change", () => remember(RETRIEVAL, field(RETRIEVAL).checked ? "on" : "off"));
  setUpTheme();
}

function set(id, value) {
  field(id).value = value;
  if (value) remember(id, value);
  else forget(id);
}

function setUpTheme() {
  const choice = field("theme");
  choice.value = window.theme.get();
  choice.addEventListener("change", () => window.theme.set(choice.value));
}
