// A clinician's form on one screen: every row at once by the keyboard, or one after the other on a phone. Each answer is
// on the disk before it is called saved, and goes to the server by the same queue as the patients'. Without this script
// the pages of the form work by their buttons.
(() => {
  "use strict";
  const { body } = document;
  const main = document.querySelector("main");
  const queue = self.AnswerQueue;
  const isShell = "shell" in body.dataset;
  const root = body.dataset.root ?? location.pathname.match(/^\/q\/[^/]+\//)?.[0];
  if (!root || !queue || !(isShell || body.matches(".clinician"))) return;

  const isPhone = matchMedia("(max-width: 759px)");
  const reference = () => document.querySelector(".reference strong")?.textContent ?? "";
  let form = ""; // the name of this questionnaire in the queue
  let text = null;
  let address = "";
  let answers = {}; // as far as this page knows them
  let done = new Set(); // codes that were answered, also those whose answer is at the server only
  const onDisk = new Set(); // those of them that are safe: on this disk or at the server
  let opened = new Set(); // questions that are asked because of an answer
  let confirming = false;
  let ready = false;
  let finished = false;
  let screen = null; // the form on the page

  // --- Which rows are asked, and which is the current one ---

  const isAsked = (code) => {
    const condition = text.entries[code].ask_if;
    if (!condition) return true;
    if (condition.question in answers) return condition.values.includes(answers[condition.question]);
    return opened.has(code);
  };
  const rows = () => [...screen.querySelectorAll("fieldset[data-code]")].filter((row) => !row.hidden);
  const codeOf = (row) => row.dataset.code;
  const isOpen = (row) => !done.has(codeOf(row));
  const current = () => screen.querySelector("fieldset.current");

  const goTo = (row, focus = true) => {
    if (!row) return;
    for (const one of screen.querySelectorAll(".current")) one.classList.remove("current");
    row.classList.add("current");
    row.closest("section").classList.add("current");
    stopClock();
    clocked = codeOf(row);
    since = performance.now();
    if (focus) (row.querySelector("input:checked") ?? row.querySelector("input:not([type=hidden])")).focus();
    showProgress();
  };
  const step = (by, row = current()) => {
    const all = rows();
    const next = all[all.indexOf(row) + by];
    if (next) goTo(next);
    else if (by > 0) screen.querySelector(".finish-rating").focus();
  };

  // --- Times: a clock that nobody sets ---

  const spent = new Map();
  const changes = new Map();
  let clocked = "";
  let since = null;
  const stopClock = () => {
    if (since !== null && clocked) spent.set(clocked, (spent.get(clocked) ?? 0) + performance.now() - since);
    since = null;
  };

  // --- Keeping ---

  const session = () => ({
    root, rating: true, language: text.language, address, reference: reference(), finished,
    stamp: Boolean(document.querySelector(".stamp")), done: [...onDisk],
    opened: Object.keys(text.entries).filter((code) => text.entries[code].ask_if && isAsked(code)),
  });
  const keep = (entries) => {
    const now = new Date().toISOString();
    return queue.save(form, session(), entries.map((entry) => ({ ...entry, language: text.language, client_time: now })));
  };
  let writing = Promise.resolve();
  let nPending = 0;
  const record = (code, value) => {
    if (JSON.stringify(answers[code]) === JSON.stringify(value)) return writing;
    if (done.has(code)) changes.set(code, (changes.get(code) ?? 0) + 1);
    answers[code] = value;
    done.add(code);
    if (clocked === code) stopClock();
    const paradata = {
      ms: Math.round(spent.get(code) ?? 0), shown: 1, changed: changes.get(code) ?? 0,
      portrait: innerHeight >= innerWidth, offline: !navigator.onLine, text: text.digest,
    };
    nPending += 1;
    say("");
    writing = writing.then(() => {
      onDisk.add(code);
      return keep([{ item: code, value, paradata }]);
    }).then(() => {
      nPending -= 1;
      if (!nPending) say(retry ? "offline" : "saved");
    });
    writing.catch(giveUp);
    return writing;
  };
  // The store failed: from here on the plain pages send the answers. What was not called saved is asked again there.
  const giveUp = () => {
    if (!ready) return;
    ready = false;
    location.replace(`${root}page/1/`);
  };

  // --- Saying how things stand ---

  let standing = "";
  const say = (name) => {
    standing = name;
    const line = main.querySelector(".status");
    if (!line) return;
    line.textContent = text.texts[name] ?? ""; // nothing while an answer is on its way to the disk
    line.dataset.state = name;
  };
  const showProgress = () => {
    const all = rows();
    const nDone = all.filter((row) => !isOpen(row)).length;
    const place = isPhone.matches && current() ? all.indexOf(current()) + 1 : nDone;
    const words = text.texts.progress.replace("{position}", place).replace("{total}", all.length);
    screen.querySelector("#progress").textContent = words;
    Object.assign(screen.querySelector("progress"), { max: all.length, value: place });
    const isLast = all.at(-1) === current();
    screen.querySelector(".next-row").hidden = isLast;
    screen.querySelector(".finish-rating").classList.toggle("last", isLast);
  };

  let retry = 0;
  let timer = null;
  const flush = async () => {
    clearTimeout(timer);
    const everythingSent = await queue.flush();
    const waiting = await queue.countWaiting(form).catch(() => 0);
    if (!waiting && everythingSent) {
      retry = 0;
      if (standing && standing !== "refused" && !nPending) say("sent");
    } else if (waiting) {
      retry += 1;
      if ((!navigator.onLine || retry > 1) && !nPending) say("offline");
    }
    const pause = everythingSent ? 12_000 : Math.min(12_000, 1_000 * 2 ** retry);
    timer = setTimeout(flush, pause * (0.75 + 0.5 * Math.random()));
  };
  let soon = null;
  const sendSoon = () => { soon ??= setTimeout(() => { soon = null; flush(); }, 2_000); };
  queue.listen((name, news) => {
    if (name !== form || !ready) return;
    if (news.refused) say("refused");
    if (news.completed) {
      main.replaceChildren();
      location.replace(root);
    }
  });

  // --- What a row says ---

  const valueOf = (row) => {
    const { code, control } = row.dataset;
    const chosen = [...row.querySelectorAll("input:checked")].map((input) => input.value);
    if (control === "multiple_choice") return chosen.includes("prefer_not") ? "PREFER_NOT" : chosen.length ? chosen : null;
    if (control === "number" || control === "years_months") {
      if (chosen.length) return "PREFER_NOT";
      const texts = [...row.querySelectorAll("input[type=text]")].map((input) => input.value.trim().replace(",", "."));
      if (texts.every((one) => one === "")) return null;
      const whole = !text.entries[code].decimals;
      if (texts.some((one) => !(whole ? /^\d{0,4}$/ : /^\d{1,4}(\.\d{1,3})?$/).test(one))) return undefined;
      const number = control === "number" ? Number(texts[0]) : 12 * Number(texts[0]) + Number(texts[1]);
      const { minimum, maximum } = text.entries[code];
      return number >= minimum && number <= maximum ? number : undefined;
    }
    if (!chosen.length) return null;
    if (chosen[0] === "prefer_not") return "PREFER_NOT";
    return control === "scale" && /^\d$/.test(chosen[0]) ? Number(chosen[0]) : chosen[0];
  };
  const fill = (row) => {
    const { code, control } = row.dataset;
    const value = answers[code];
    if (value === undefined) return;
    const chosen = new Set((Array.isArray(value) ? value : [value === "PREFER_NOT" ? "prefer_not" : value]).map(String));
    row.querySelectorAll("input[type=radio], input[type=checkbox]").forEach((input) => { input.checked = chosen.has(input.value); });
    if (typeof value !== "number") return;
    const texts = row.querySelectorAll("input[type=text]");
    if (control === "number") texts[0].value = value;
    if (control === "years_months") [texts[0].value, texts[1].value] = [Math.floor(value / 12), value % 12];
  };
  const showAsked = () => {
    for (const row of screen.querySelectorAll("fieldset[data-code]")) row.hidden = !isAsked(codeOf(row));
  };

  // --- Building the screen from the form's pages ---

  const element = (name, properties) => Object.assign(document.createElement(name), properties);
  const build = () => {
    screen = element("form", { className: "rating", noValidate: true, autocomplete: "off" });
    const progress = element("div", { className: "progress" });
    progress.append(element("p", { id: "progress" }), element("progress", {}));
    progress.lastChild.setAttribute("aria-labelledby", "progress");
    screen.append(progress);
    text.pages.forEach((page, place) => {
      const pattern = document.createElement("template");
      pattern.innerHTML = page.html;
      const block = pattern.content.querySelector("form.block");
      const section = element("section", { className: block.className });
      const heading = element(place ? "h2" : "h1", { textContent: block.querySelector("h1").textContent });
      section.append(heading);
      const hint = place ? null : block.querySelector(".keys");
      if (hint && matchMedia("(hover: hover) and (pointer: fine)").matches) {
        hint.hidden = false;
        section.append(hint);
      }
      section.append(...block.querySelectorAll(".heads, fieldset"));
      screen.append(section);
    });
    const actions = element("div", { className: "actions" });
    const button = (className, words) => element("button", { type: "button", className, textContent: words });
    actions.append(
      button("next-row", text.texts.next), button("back-row", text.texts.back),
      element("button", { className: "primary finish-rating", textContent: text.texts.finish }),
    );
    const cannot = main.querySelector("a.cannot");
    if (cannot) actions.append(cannot);
    const line = element("p", { className: "status" });
    line.setAttribute("role", "status");
    screen.append(actions, line);
    screen.querySelectorAll("fieldset").forEach(fill);
    main.replaceChildren(screen);
    showAsked();
    document.title = text.texts.survey;
    history.replaceState(null, "", `${root}page/1/`);
    goTo(rows().find(isOpen) ?? rows().at(-1));
    screen.addEventListener("change", changed);
    screen.addEventListener("click", clicked);
    screen.addEventListener("focusin", (event) => {
      const row = event.target.closest("fieldset[data-code]");
      if (row && row !== current()) goTo(row, false);
    });
    screen.addEventListener("submit", (event) => {
      event.preventDefault();
      finish().catch(giveUp);
    });
    isPhone.addEventListener("change", showProgress);
  };

  // --- Doing ---

  const changed = (event) => {
    const row = event.target.closest("fieldset[data-code]");
    if (!row || !ready) return;
    const box = row.querySelector("input[type=checkbox][value=prefer_not]");
    if (box && event.target === box && box.checked) {
      row.querySelectorAll("input[type=text]").forEach((input) => { input.value = ""; });
      row.querySelectorAll("input:checked").forEach((input) => { input.checked = input === box; });
    } else if (box && event.target !== box) box.checked = false;
    row.querySelector(".error")?.remove();
    const value = valueOf(row);
    if (value === undefined) {
      const line = element("p", { className: "error", textContent: text.entries[codeOf(row)].range_error });
      line.setAttribute("role", "alert");
      row.querySelector("legend").after(line);
      return;
    }
    if (value === null) return;
    row.classList.remove("blank");
    row.querySelector(".mark")?.remove();
    record(codeOf(row), value).then(sendSoon, () => {});
    showAsked();
    showProgress();
  };

  // A tap on one of the answers goes on to the next on a phone; keys only move the choice.
  let tapped = false;
  document.addEventListener("pointerdown", (event) => { tapped = Boolean(event.target.closest("label.option")); }, true);
  const clicked = (event) => {
    if (event.target.closest(".next-row")) step(1);
    else if (event.target.closest(".back-row")) step(-1);
    if (!tapped || !isPhone.matches || !event.target.matches("input[type=radio]")) return;
    tapped = false;
    const row = event.target.closest("fieldset[data-code]");
    setTimeout(() => { if (current() === row) step(1, row); }); // when the answer is recorded: it may open a question
  };

  document.addEventListener("keydown", (event) => {
    if (!ready || !screen || event.altKey || event.ctrlKey || event.metaKey) return;
    tapped = false;
    const row = event.target === body ? current() : event.target.closest("fieldset[data-code]");
    if (!row) return;
    const isText = event.target.matches("input[type=text]");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1, row);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (isText) event.target.dispatchEvent(new Event("change", { bubbles: true }));
      if (!event.repeat && !row.querySelector(".error")) step(1, row);
    } else if (/^[0-9]$/.test(event.key) && !isText) {
      const choices = [...row.querySelectorAll("input[type=radio]")].filter((one) => !one.closest(".apart"));
      const input = event.key === "0" ? row.querySelector(".apart input") : choices[Number(event.key) - 1];
      if (!input) return;
      event.preventDefault();
      if (!input.checked) {
        input.checked = true;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
      step(1, row);
    }
  });

  const finish = async () => {
    if (finished) return;
    const blank = rows().filter(isOpen);
    if (blank.length && !confirming) {
      confirming = true;
      for (const row of blank) {
        if (row.matches(".blank")) continue;
        row.classList.add("blank");
        row.querySelector("legend").append(" ", element("span", { className: "mark", textContent: text.texts.blank_mark }));
      }
      screen.querySelector("#notice")?.remove();
      const line = element("p", { id: "notice", className: "notice", textContent: text.texts.still_blank.replace("{count}", blank.length) });
      line.setAttribute("role", "status");
      screen.querySelector(".actions").before(line);
      goTo(blank[0]);
      return;
    }
    finished = true;
    await writing;
    await keep([...blank.map((row) => ({ item: codeOf(row), value: "SKIPPED" })), { finish: true }]);
    const sent = flush();
    await Promise.race([sent, new Promise((resolve) => { setTimeout(resolve, 1500); })]);
    if (screen.isConnected) showWaiting();
  };
  const showWaiting = () => {
    main.innerHTML = text.waiting;
    document.querySelector("#tools")?.replaceChildren();
  };

  document.addEventListener("visibilitychange", () => {
    if (!ready) return;
    if (document.hidden) stopClock();
    else since = performance.now();
    flush();
  });
  addEventListener("online", () => { if (form) flush(); });
  addEventListener("offline", () => { if (ready && !nPending) say("offline"); });

  // --- Beginning ---

  const loadBundle = async () => {
    const store = "caches" in self ? await caches.open("forms").catch(() => null) : null;
    let response = await store?.match(address);
    if (!response) {
      response = await fetch(address, { signal: AbortSignal.timeout(20_000) });
      if (!response.ok) throw new Error(String(response.status));
      await store?.put(address, response.clone());
    }
    const bundle = await response.json();
    bundle.digest = address.match(/([0-9a-f]+)\.json$/)[1];
    return bundle;
  };
  const readState = async () => {
    const response = await fetch(`${root}state/`, { cache: "no-store", signal: AbortSignal.timeout(8_000) });
    if (response.status >= 500) throw new Error(String(response.status));
    return response.ok ? response.json() : { status: "gone" };
  };

  const open = async () => {
    ready = true;
    body.dataset.keeping = "here";
    body.className = "clinician";
    build();
    flush();
    await navigator.serviceWorker?.register("/q/service-worker.js").catch(() => {});
  };

  const begin = async () => {
    try {
      await queue.prepare();
    } catch {
      body.dataset.keeping = "denied";
      return;
    }
    form = await queue.nameOf(root);
    const kept = await queue.load(form);
    if (isShell && !kept.session?.rating) return; // a patient's, or nobody's
    let state = null;
    try {
      state = await readState();
    } catch { /* no connection: what is kept here has to do */ }
    if (state && !["waiting", "started"].includes(state.status)) {
      await queue.flush();
      if (isShell || kept.waiting.length) location.replace(root);
      return;
    }
    if (!state && !kept.session) return;
    const language = kept.session && (isShell || kept.waiting.length) ? kept.session.language : document.documentElement.lang;
    address = state?.bundles[language] ?? kept.session.address;
    answers = { ...state?.answers };
    for (const one of kept.waiting) if ("item" in one) answers[one.item] = one.value;
    done = new Set([...Object.keys(answers), ...(kept.session?.done ?? [])]);
    for (const code of done) onDisk.add(code);
    opened = new Set(kept.session?.opened ?? []);
    finished = kept.waiting.some((one) => one.finish);
    queue.countOn(form, (state?.last_sequence ?? 0) + 1);
    try {
      text = await loadBundle();
    } catch {
      return;
    }
    document.documentElement.lang = text.language;
    if (isShell) {
      const line = element("p", { className: "reference" });
      line.append(element("strong", { textContent: kept.session.reference }));
      document.querySelector(".top").prepend(line);
      if (kept.session.stamp) document.querySelector("header").prepend(element("p", { className: "stamp", textContent: text.texts.stamp }));
    }
    if (finished) {
      ready = true;
      showWaiting();
      flush();
    } else if (isShell || main.querySelector("form.block") || (main.querySelector(".review") && kept.waiting.length)) await open();
    else if (main.querySelector("form.why") === null && main.querySelector("input[name=language]")) {
      main.querySelector("form").addEventListener("submit", async (event) => {
        event.preventDefault();
        const chosen = event.target.elements.language.value;
        try {
          if (chosen !== text.language) {
            address = state?.bundles[chosen] ?? address;
            text = await loadBundle();
          }
          await keep([{ start: true }]);
          await open();
        } catch {
          event.target.submit();
        }
      });
    }
  };
  begin();
})();
