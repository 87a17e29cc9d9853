// The tablet's own pages: looks for the next questionnaire, sends what still waits here, and tells the server how much.
(() => {
  "use strict";
  const queue = self.AnswerQueue;
  const { tablet } = document.body.dataset;
  const LOOK_EVERY = 4_000;
  const SEND_EVERY = 15_000;
  const jitter = (pause) => pause * (0.75 + 0.5 * Math.random());
  const show = (selector, shown) => document.querySelectorAll(selector).forEach((one) => { one.hidden = !shown; });

  const look = async () => {
    try {
      const response = await fetch("/q/tablet/next/", { cache: "no-store", signal: AbortSignal.timeout(8_000) });
      if (!response.ok) throw new Error(String(response.status));
      show(".offline", false);
      if (!(await response.json()).is_waiting) {
        location.replace("/q/tablet/");
        return;
      }
    } catch {
      show(".offline", true);
    }
    setTimeout(look, jitter(LOOK_EVERY));
  };

  const send = async () => {
    try {
      await queue.beTablet();
      await queue.putAway(); // whoever comes next finds nothing of a questionnaire here; what was not sent stays
      await queue.flush();
      const waits = (await queue.countWaiting()) > 0;
      show(".unsent", waits);
      show(".sent", !waits);
    } catch { /* nothing can be kept in this browser, so nothing waits */ }
    setTimeout(send, jitter(SEND_EVERY));
  };

  if (tablet === "waiting") {
    setTimeout(look, jitter(LOOK_EVERY));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  }
  send();
})();
