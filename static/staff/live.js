// Keeps the parts of a page that carry data-live as they are on the server: every part's children have an id and a
// data-version, and only a child whose version has changed is put in place of the old one. What has the focus keeps it;
// while a finger or the mouse is down nothing moves. Without this script the page shows a link to load it again.
(() => {
  "use strict";
  const whole = document.querySelector("[data-look-again]");
  if (!whole) return;
  const EVERY = 15000;
  let next = 0;

  function bring(part, fresh) {
    const old = new Map([...part.children].map((child) => [child.id, child]));
    const wanted = [...fresh.children].map((child) => {
      const known = old.get(child.id);
      return known && known.dataset.version === child.dataset.version ? known : child;
    });
    if (wanted.length === part.children.length && wanted.every((child, place) => child === part.children[place])) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const row = focused && focused.closest("[data-version]");
    part.replaceChildren(...wanted);
    if (!focused) return;
    const again = focused.isConnected
      ? focused
      : (focused.id && document.getElementById(focused.id)) ||
        (row && document.getElementById(row.id)?.querySelector("a, button")) ||
        document.getElementById("content");
    again.focus({ preventScroll: true });
  }

  async function look() {
    window.clearTimeout(next);
    let wait = EVERY;
    if (document.visibilityState === "visible" && !whole.querySelector(":active")) {
      try {
        const answer = await fetch(window.location.href, { headers: { "X-Background": "yes" } });
        // Signed out meanwhile: the page itself leads to the sign-in.
        if (answer.redirected || answer.status === 403) return window.location.reload();
        if (answer.ok && !whole.querySelector(":active")) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const part of whole.querySelectorAll("[data-live]")) {
            const its = fresh.getElementById(part.id);
            if (its) bring(part, its);
          }
        }
      } catch {
        wait = 2 * EVERY; // the network is away; try again more slowly
      }
    }
    next = window.setTimeout(look, wait);
  }

  next = window.setTimeout(look, EVERY);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") look();
  });
})();
