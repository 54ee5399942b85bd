// Theme switch without a reload, and buttons that copy.

const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function theme() {
  const form = document.querySelector("[data-theme-form]");
  if (!form) return;
  const button = form.querySelector("button");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = button.value;
    const root = document.documentElement;
    if (chosen === "auto") delete root.dataset.theme;
    else root.dataset.theme = chosen;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `loopwright_theme=${chosen}; path=/; max-age=31536000; samesite=strict${secure}`;
    button.value = NEXT[chosen];
    button.title = `Colours: ${chosen}; click to change`;
    button.querySelector("span").textContent = chosen;
  });
}

export function copiers(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      button.textContent = (await copy(source)) ? "Copied" : "Select and copy";
      setTimeout(() => { button.textContent = label; }, 1600);
    });
  }
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // Without https the clipboard is closed to scripts: leave the text selected.
    getSelection().selectAllChildren(source);
    return false;
  }
}
