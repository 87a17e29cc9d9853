// Saves each answer the moment it is given, and lets a row be answered by the keys 1 to 5.
// Without this script every page works by its buttons.
(() => {
  "use strict";

  // A browser may keep the page as it was and show it again by Back, to somebody else: then ask the server anew.
  addEventListener("pagehide", () => { document.body.hidden = true; });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
    else document.body.hidden = false;
  });

  const form = document.querySelector("form[data-save]");
  if (!form) return;
  const isQueued = () => document.body.dataset.keeping === "here"; // then patient.js keeps and sends the answers
  const status = form.querySelector(".status");
  const sequence = form.elements.sequence;
  let failed = false;

  // The value of one row as the server takes it; null when there is nothing to save yet.
  const valueOf = (row) => {
    const code = row.dataset.code;
    const chosen = [...row.querySelectorAll("input:checked")].map((input) => input.value);
    switch (row.dataset.control) {
      case "multiple_choice":
        return chosen.length ? chosen : null;
      case "number": {
        const text = row.querySelector("input[type=text]").value.trim();
        return chosen.length ? "PREFER_NOT" : text.replace(",", ".") || null;
      }
      case "years_months": {
        if (chosen.length) return "PREFER_NOT";
        const texts = ["years", "months"].map((unit) => form.elements[`${code}_${unit}`].value.trim());
        if (texts.every((text) => text === "") || texts.some((text) => !/^\d{0,4}$/.test(text))) return null;
        return 12 * Number(texts[0]) + Number(texts[1]);
      }
      default:
        return chosen.length ? chosen[0] : null;
    }
  };

  // One after another, so that answers arrive in the order of giving. The number is taken at once: whatever the page
  // sends next has a higher one, even if this delivery is still on its way.
  let deliveries = Promise.resolve();
  const save = (row) => {
    const value = valueOf(row);
    if (value === null) return;
    const number = Number(sequence.value);
    sequence.value = number + 1;
    const body = JSON.stringify({
      item: row.dataset.code, value, sequence: number, client_time: new Date().toISOString(),
    });
    deliveries = deliveries.then(async () => {
      try {
        const response = await fetch(form.dataset.save, {
          method: "POST", body, keepalive: true, headers: { "Content-Type": "application/json" },
        });
        if (!response.ok) throw new Error(String(response.status));
        const { last_sequence: last } = await response.json();
        sequence.value = Math.max(Number(sequence.value), last + 1);
        row.classList.remove("blank");
        row.querySelector(".mark")?.remove();
        if (!failed) status.textContent = status.dataset.saved;
        if ("decides" in row.dataset && form.matches(".block, .sentences")) await showOpenedQuestions();
      } catch {
        failed = true; // "Next" sends the whole page again, so nothing is lost
        status.textContent = status.dataset.unsaved;
      }
    });
  };

  // An answer may open another question, or close one: take the rows as the server now shows them.
  const showOpenedQuestions = async () => {
    const response = await fetch(location.pathname);
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const rows = [...fresh.querySelectorAll("fieldset[data-code]")];
    const codes = new Set(rows.map((row) => row.id));
    form.querySelectorAll("fieldset[data-code]").forEach((row) => { if (!codes.has(row.id)) row.remove(); });
    rows.forEach((row, place) => {
      if (!document.getElementById(row.id)) document.getElementById(rows[place - 1].id).after(document.adoptNode(row));
    });
  };

  form.addEventListener("change", (event) => {
    const row = event.target.closest("fieldset[data-code]");
    if (!row || isQueued()) return;
    // "Prefer not to answer" and an answer exclude each other: the one given last was meant.
    const box = row.querySelector("input[type=checkbox][value=prefer_not]");
    if (box && event.target === box && box.checked) {
      row.querySelectorAll("input[type=text]").forEach((input) => { input.value = ""; });
      row.querySelectorAll("input:checked").forEach((input) => { input.checked = input === box; });
    } else if (box && event.target !== box) {
      box.checked = false;
    }
    save(row);
  });

  // Keys 1 to 5 answer the row that has the focus (or the first open one, when nothing has it) and go on to the next.
  if (!form.matches(".block")) return;
  const hint = form.querySelector(".keys");
  if (hint && matchMedia("(hover: hover) and (pointer: fine)").matches) hint.hidden = false;
  const firstOpen = () => [...form.querySelectorAll("fieldset[data-control=scale]")].find((row) => !row.querySelector("input:checked"));
  document.addEventListener("keydown", (event) => {
    if (isQueued()) return; // then rating.js listens
    const nowhere = event.target === document.body;
    const row = nowhere ? firstOpen() : event.target.closest("fieldset[data-control=scale]");
    if (!row || !/^[1-9]$/.test(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    const input = row.querySelector(`input[type=radio][value="${event.key}"]`);
    if (!input) return;
    event.preventDefault();
    if (!input.checked) {
      input.checked = true;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
    let next = row.nextElementSibling;
    while (next && !next.matches("fieldset[data-code]")) next = next.nextElementSibling;
    const target = next ? next.querySelector("input:checked, input:not([type=hidden])") : form.querySelector(".primary");
    target.focus();
  });
})();
