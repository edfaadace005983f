// What the browser keeps between visits; without storage, for this visit only.

const kept = new Map();

export function recall(name) {
  try {
    return localStorage.getItem(`openchatkit.${name}`);
  } catch {
    return kept.get(name) ?? null;
  }
}

export function remember(name, value) {
  kept.set(name, value);
  try {
    localStorage.setItem(`openchatkit.${name}`, value);
  } catch {
    // Storage is off or full: `kept` has it.
  }
}

export function forget(name) {
  kept.delete(name);
  try {
    localStorage.removeItem(`openchatkit.${name}`);
  } catch {
    // Nothing was stored then.
  }
}
