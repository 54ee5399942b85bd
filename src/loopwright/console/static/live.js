// Pages of what is still at work: the parts that are marked are put in anew as the server draws them, until it has ended.
import { load } from "./tail.js";

const PERIOD = 2000;

export function live() {
  if (!document.querySelector("[data-watched]")) return;
  const turn = async () => {
    // A hidden page asks nothing, and nobody loses the field they are typing into.
    const on = document.hidden || (await drawn().catch(() => true));
    if (on) setTimeout(turn, PERIOD);
  };
  setTimeout(turn, PERIOD);
}

async function drawn() {
  const page = await load(location.href);
  // The session is over, or the house does not answer now.
  if (!page) return true;
  for (const part of document.querySelectorAll("[data-part]")) {
    const found = page.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
    if (!found) return false;
    if (!part.contains(document.activeElement)) part.replaceWith(document.importNode(found, true));
  }
  return page.querySelector("[data-watched]") !== null;
}
