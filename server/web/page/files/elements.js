// Making elements. All text goes in as text nodes, never as markup.

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function button(text, className, onClick) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

// A button that copies what `text()` says and tells so for a moment.
export function copyButton(text, label = "Copy") {
  const made = button(label, "small", async () => {
    made.textContent = (await copy(text())) ? "Copied" : "Cannot copy";
    setTimeout(() => (made.textContent = label), 1500);
  });
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// Without https, browsers have only the old way.
function copyBySelection(text) {
  const area = element("textarea", "hidden");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
