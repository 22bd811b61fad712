// The theme, and copying.

const THEMES = ["system", "light", "dark"];
const theme = byId("theme");
const setTheme = (name) => {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = "Theme: " + name;
  theme.dataset.name = name;
};
const stored = (name) => {
  // A page that is opened from a file may be allowed to keep nothing.
  try {
    if (name) localStorage.setItem("portcullis-theme", name);
    return localStorage.getItem("portcullis-theme");
  } catch {
    return null;
  }
};
theme.hidden = false;
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme.dataset.name) + 1) % THEMES.length];
  setTheme(next);
  stored(next);
});
setTheme(THEMES.includes(stored()) ? stored() : "system");
for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
}
addEventListener("beforeprint", () =>
  all("details").forEach((details) => {
    details.open = true;
  }),
);
addEventListener("resize", drawView);
drawView();
drawValues(null);
