// Follows a running analysis; without this script the page loads itself again every two seconds.
(() => {
  "use strict";
  const job = document.getElementById("job");
  if (!job) return;
  const bar = document.getElementById("job-bar");
  const words = document.getElementById("job-words");
  async function look() {
    let wait = 1000;
    try {
      const answer = await fetch(job.dataset.progress, { headers: { Accept: "application/json" } });
      // Signed out meanwhile: the page itself leads to the sign-in.
      if (!answer.ok || answer.redirected) return window.location.reload();
      const state = await answer.json();
      if (state.finished) return window.location.reload();
      bar.value = state.percent;
      if (words.textContent !== state.words) words.textContent = state.words;
    } catch {
      wait = 5000; // the network is away; try again more slowly
    }
    window.setTimeout(look, wait);
  }
  window.setTimeout(look, 500);
})();
