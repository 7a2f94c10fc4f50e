// Which page is shown, and how one gets to another.

import { joinPage } from "./join.js";
import { logsPage } from "./logs.js";
import { settingsPage } from "./settings.js";
import { statisticsPage } from "./statistics.js";
import { startLooking } from "./status.js";

const PAGES = { join: joinPage, settings: settingsPage, statistics: statisticsPage, logs: logsPage };
const content = document.getElementById("content");
const buttons = [...document.querySelectorAll("nav button")];
let leave = () => {};

/** Also what the program behind the window calls to bring a page up. */
export function show(name) {
  if (!Object.hasOwn(PAGES, name)) return;
  leave();
  for (const button of buttons) {
    if (button.dataset.page === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  content.replaceChildren();
  content.scrollTop = 0;
  leave = PAGES[name](content, show) ?? (() => {});
}

for (const button of buttons) button.addEventListener("click", () => { show(button.dataset.page); content.focus(); });
window.gogridShow = show;
startLooking();
show(document.querySelector('meta[name="gogrid-page"]').content);
