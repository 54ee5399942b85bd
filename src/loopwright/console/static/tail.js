// The live tail: asks for what is newer than the first row and puts it on top. The server writes the rows.

const PERIOD = 2000;
const MOST = 200;

export function tail() {
  const button = document.querySelector("[data-live]");
  const table = document.querySelector("[data-calls]");
  const params = new URLSearchParams(location.search);
  if (!button || params.has("before") || params.has("until")) return;
  button.hidden = false;
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
  };
  button.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    if (!table) {
      location.reload();
      return;
    }
    button.setAttribute("aria-pressed", "true");
    const turn = async () => {
      let on = true;
      // A hidden page asks nothing.
      if (!document.hidden) on = await more(table).catch(() => true);
      if (!on) stop();
      else if (timer) timer = setTimeout(turn, PERIOD);
    };
    timer = setTimeout(turn, 0);
  });
}

async function more(table) {
  const address = new URL(location.href);
  if (table.dataset.newest) {
    address.searchParams.set("after", table.dataset.newest);
    // Also what began before that row and has ended since we last asked.
    address.searchParams.set("ended", table.dataset.asked);
  }
  const page = await load(address);
  const found = page?.querySelector("[data-calls]");
  if (!page) return true;
  // The session is over, or something is wrong: a reload says what.
  if (!found) return page.querySelector("main") === null;
  table.dataset.asked = found.dataset.asked;
  const body = table.tBodies[0];
  const rows = [...found.tBodies[0].rows].map((row) => document.importNode(row, true));
  for (const row of rows.reverse()) {
    const id = row.dataset.id;
    if (body.querySelector(`[data-id="${id}"]`)) continue;
    document.querySelector("[data-none]")?.remove();
    row.classList.add("fresh");
    // Ids sort by the time a call began: a long one comes to stand among those that began after it.
    body.insertBefore(row, [...body.rows].find((other) => other.dataset.id < id) ?? null);
    if (!(id < table.dataset.newest)) table.dataset.newest = id;
  }
  while (body.rows.length > MOST) body.rows[MOST].remove();
  return true;
}

// Parsed as a document of its own: nothing in it runs, and no text is turned into markup here.
export function load(address) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.onload = () => resolve(request.status === 200 ? request.responseXML : null);
    request.onerror = () => resolve(null);
    request.send();
  });
}
