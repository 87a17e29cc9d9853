// Typing in a paper form: Enter goes to the next field instead of sending, and one key is enough where one is an answer.
// Without this script Tab does the same.
"use strict";
(function () {
  const form = document.getElementById("paper-entry");
  if (!form) return;
  const fields = () => Array.from(form.querySelectorAll("input:not([type=hidden]), select, button[type=submit]"));
  function onward(from, step) {
    const all = fields();
    const next = all[all.indexOf(from) + step];
    if (!next) return;
    next.focus();
    if (next.select) next.select();
  }
  form.addEventListener("keydown", function (event) {
    const field = event.target;
    if (!(field instanceof HTMLInputElement)) return;
    if (event.key === "Enter" || event.key === "ArrowDown" && field.type !== "date") {
      event.preventDefault();
      onward(field, 1);
    } else if (event.key === "ArrowUp" && field.type !== "date") {
      event.preventDefault();
      onward(field, -1);
    }
  });
  form.addEventListener("input", function (event) {
    const field = event.target;
    if (field.dataset.single === undefined || !/^[1-9dsp]$/i.test(field.value)) return;
    field.value = field.value.toUpperCase();
    onward(field, 1);
  });
  let sent = false;
  form.addEventListener("submit", () => { sent = true; });
  window.addEventListener("beforeunload", function (event) {
    const typed = fields().some((field) => field instanceof HTMLInputElement && field.value !== field.defaultValue);
    if (typed && !sent) event.preventDefault();
  });
})();
