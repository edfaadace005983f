// Light, dark, or as the system says; set before anything is drawn, so this is no module.

(() => {
  const KEY = "openchatkit.theme";
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem(KEY) ?? "system";
    } catch {
      return root.dataset.theme ?? "system";
    }
  }

  window.theme = {
    get: chosen,
    set(name) {
      root.dataset.theme = name;
      try {
        localStorage.setItem(KEY, name);
      } catch {
        // Storage is off: for this visit only.
      }
    },
  };
  root.dataset.theme = chosen();
})();
