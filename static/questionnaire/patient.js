// A patient's form without waiting for the server: all questions are here at once, each answer is on the disk before the
// next question shows, and goes to the server by itself. Without this script every page works by its buttons.
(() => {
  "use strict";
  const { body } = document;
  const main = document.querySelector("main");
  const queue = self.AnswerQueue;
  const isShell = "shell" in body.dataset;
  const root = body.dataset.root ?? location.pathname.match(/^\/q\/[^/]+\//)?.[0];
  if (!root || !queue) return;

  const REVIEW = Infinity;
  const DOUBLE_TAP = 400; // milliseconds
  let form = ""; // the name of this questionnaire in the queue
  let text = null; // the pages and words in the language shown
  let addresses = {}; // language -> where its pages are
  const bundles = new Map();
  let answers = {}; // as far as this page knows them
  let done = new Set(); // codes that were answered or passed over, also those whose answer is at the server only
  let opened = new Set(); // questions that are asked because of an answer
  let here = 0; // the number of the question shown; 0 is the welcome
  let fromReview = false;
  let confirming = false; // the gentle line about a blank answer is shown
  let finished = false;
  let ready = false;
  let busy = false;

  // --- Which question comes when; as the server has it ---

  const isAsked = (code) => {
    const condition = text.entries[code].ask_if;
    if (!condition) return true;
    if (condition.question in answers) return condition.values.includes(answers[condition.question]);
    return opened.has(code);
  };
  const askedPages = () => text.pages.filter((page) => page.codes.some(isAsked)).map((page) => page.number);
  const pageAfter = (number) => askedPages().find((one) => one > number) ?? REVIEW;
  const pageBefore = (number) => askedPages().findLast((one) => one < number) ?? 0;
  const firstOpenPage = () => text.pages.find((page) => page.codes.some((code) => isAsked(code) && !done.has(code)))?.number ?? REVIEW;

  // --- Times: a clock that nobody sets ---

  const spent = new Map(); // code -> milliseconds on screen
  const timesShown = new Map();
  const timesChanged = new Map();
  let since = null;
  let unclaimed = 0; // milliseconds that the next answer on this page took
  const stopClock = () => {
    if (since !== null && here >= 1 && here < REVIEW) {
      unclaimed += performance.now() - since;
      const { codes } = text.pages[here - 1];
      if (codes.length === 1) claim(codes[0]);
    }
    since = null;
  };
  // Of several on a page, an answer took the time since the one before it.
  const claim = (code) => {
    const now = performance.now();
    spent.set(code, (spent.get(code) ?? 0) + unclaimed + (since === null ? 0 : now - since));
    unclaimed = 0;
    if (since !== null) since = now;
    return Math.round(spent.get(code));
  };
  const startClock = () => { since = document.hidden ? null : performance.now(); };

  // The pages' own tools, with the languages in which this study asks.
  const showTools = () => {
    const tools = document.querySelector("#tools");
    tools.innerHTML = text.tools;
    for (const button of tools.querySelectorAll(".languages button")) if (!(button.value in addresses)) button.remove();
  };

  // --- Keeping ---

  const session = () => ({
    root, language: text.language, addresses, stamp: Boolean(document.querySelector(".stamp")), done: [...done], finished,
    opened: Object.keys(text.entries).filter((code) => text.entries[code].ask_if && isAsked(code)),
  });

  const keep = async (entries) => {
    const now = new Date().toISOString();
    await queue.save(form, session(), entries.map((entry) => ({ ...entry, language: text.language, client_time: now })));
  };

  // Answers are written one after another; a question is left only when all are on the disk.
  let writing = Promise.resolve();
  const record = (code, value) => {
    if (code in answers && JSON.stringify(answers[code]) === JSON.stringify(value)) return writing;
    if (done.has(code)) timesChanged.set(code, (timesChanged.get(code) ?? 0) + 1);
    answers[code] = value;
    done.add(code);
    const paradata = {
      ms: claim(code), shown: timesShown.get(code) ?? 1, changed: timesChanged.get(code) ?? 0,
      portrait: innerHeight >= innerWidth, offline: !navigator.onLine, text: text.digest,
    };
    const line = main.querySelector(".status");
    if (line) line.dataset.state = "writing";
    writing = writing.then(() => keep([{ item: code, value, paradata }])).then(() => say(retry ? "offline" : "saved"));
    writing.catch(giveUp);
    return writing;
  };

  // The store failed: from here on the plain forms send each page.
  const giveUp = () => {
    ready = false;
    writing = Promise.resolve();
    const plain = main.querySelector("form.question");
    if (plain) plain.elements.sequence.value = queue.nextNumber(form);
    say("direct");
  };

  // --- Saying how things stand ---

  let standing = "";
  const say = (name) => {
    standing = name;
    const line = main.querySelector(".status");
    if (!line || !text || !name) return;
    const word = name === "saved" && Math.min(screen.width, screen.height) < 600 ? "saved_phone" : name === "saved" ? "saved_tablet" : name;
    if (line.textContent !== text.texts[word]) line.textContent = text.texts[word];
    line.dataset.state = name;
  };

  // What was answered in these milliseconds is sent together: it is on the disk already, and a waiting room asks the
  // server half as often. Whoever leaves the page, reviews or finishes sends at once.
  const SEND_AFTER = 5_000;
  let soon = null;
  const sendSoon = () => { soon ??= setTimeout(flush, SEND_AFTER); };

  let retry = 0;
  let timer = null;
  const flush = async () => {
    clearTimeout(timer);
    clearTimeout(soon);
    soon = null;
    const everythingSent = await queue.flush();
    const waiting = await queue.countWaiting(form).catch(() => 0);
    if (everythingSent) retry = 0; // what waits now was given meanwhile, and has its own turn
    if (!waiting && everythingSent) {
      if (standing && standing !== "refused") say("sent");
    } else if (waiting && !everythingSent) {
      retry += 1;
      if (!navigator.onLine || retry > 1) say("offline");
    }
    // Soon after a failure, then less often; with jitter, so that a waiting room's tablets don't all knock at once.
    const pause = everythingSent ? 12_000 : Math.min(12_000, 1_000 * 2 ** retry);
    timer = setTimeout(flush, pause * (0.75 + 0.5 * Math.random()));
  };

  queue.listen((name, news) => {
    if (name !== form || !ready) return;
    if (news.refused) say("refused");
    if (news.completed) leave();
  });

  // The server has everything: its page of thanks takes this one's place in the history, and nothing stays here.
  const leave = () => {
    answers = {};
    main.replaceChildren();
    location.replace(root);
  };

  // --- Showing ---

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

  const rows = () => [...main.querySelectorAll("fieldset[data-code]")];
  const showAsked = () => rows().forEach((row) => { row.hidden = !isAsked(row.dataset.code); });

  // While somebody reads, the next page is made ready.
  const put = (words, number) => {
    const pages = askedPages();
    return words.replaceAll("{position}", pages.indexOf(number) + 1).replaceAll("{total}", pages.length);
  };
  let next = null;
  const layOut = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return { html, content: template.content };
  };
  const layOutNext = () => {
    const number = here >= 1 && here < REVIEW ? pageAfter(here) : REVIEW;
    next = number < REVIEW ? layOut(put(text.pages[number - 1].html, number)) : null;
  };

  const settle = (title, where) => {
    document.title = title ? `${title} · ${text.texts.survey}` : text.texts.survey;
    history.replaceState(null, "", where);
    scrollTo(0, 0);
    const heading = main.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  };

  const showPage = (number, code) => {
    stopClock();
    unclaimed = 0;
    here = number;
    confirming = false;
    const page = text.pages[number - 1];
    const html = put(page.html, number);
    main.replaceChildren((next?.html === html ? next : layOut(html)).content);
    next = null;
    const question = main.querySelector("form.question");
    const where = `${root}page/${number}/`;
    question.setAttribute("action", where); // its property is hidden by the buttons' name
    question.elements.sequence.value = queue.nextNumber(form);
    rows().forEach(fill);
    showAsked();
    for (const one of page.codes) if (isAsked(one)) timesShown.set(one, (timesShown.get(one) ?? 0) + 1);
    say(standing);
    offerReading();
    settle(put(text.texts.page_title, number), where);
    if (code && page.codes.length > 1) document.getElementById(`q-${code}`).scrollIntoView();
    startClock();
    requestAnimationFrame(() => setTimeout(layOutNext));
  };

  const span = (months) => {
    const count = (n, one, many) => (n === 1 ? one : many.replace("{count}", n));
    const parts = [];
    if (months >= 12) parts.push(count(Math.floor(months / 12), text.texts.year, text.texts.years));
    if (months % 12 || months < 12) parts.push(count(months % 12, text.texts.month, text.texts.months));
    return parts.join(", ");
  };
  const inWords = (code) => {
    const { words, control } = text.entries[code];
    const value = answers[code];
    if (Array.isArray(value)) return value.map((one) => words[one] ?? one).join(", ");
    if (control === "years_months" && typeof value === "number") return span(value);
    return words[value] ?? String(value);
  };

  const showReview = () => {
    stopClock();
    here = REVIEW;
    const codes = text.pages.flatMap((page) => page.codes).filter(isAsked);
    const isOpen = (code) => !done.has(code) || answers[code] === "SKIPPED";
    const nAnswered = codes.filter((code) => !isOpen(code)).length;
    main.innerHTML = text.review.replaceAll("{answered}", nAnswered).replaceAll("{asked}", codes.length);
    const pattern = document.createElement("template");
    pattern.innerHTML = text.review_row;
    const list = main.querySelector(".review");
    for (const code of codes) {
      const row = pattern.content.firstElementChild.cloneNode(true);
      row.classList.toggle("open", isOpen(code));
      row.querySelector(".sentence").textContent = text.entries[code].text;
      row.querySelector(".answer").textContent = !done.has(code) ? text.texts.not_answered : code in answers ? inWords(code) : text.texts.answered;
      const link = row.querySelector("a");
      link.firstChild.textContent = isOpen(code) ? text.texts.answer : text.texts.change;
      link.querySelector(".unseen").textContent = `: ${text.entries[code].text}`;
      link.href = `${root}page/${text.entries[code].page}/?review=1`;
      link.dataset.page = text.entries[code].page;
      link.dataset.code = code;
      list.append(row);
    }
    settle(text.texts.review_title, `${root}review/`);
  };

  const showStamp = () => {
    const stamp = document.createElement("p");
    stamp.className = "stamp";
    stamp.textContent = text.texts.stamp;
    document.querySelector("header").prepend(stamp);
  };

  const showThanks = () => {
    stopClock();
    here = REVIEW;
    main.innerHTML = text.waiting;
    document.querySelectorAll(".tools, .languages, .give-back").forEach((one) => one.remove());
    settle(text.texts.thanks_title, root);
  };

  const show = (number, code) => (number === REVIEW ? showReview() : showPage(number, code));

  const notice = (words, kind, row) => {
    main.querySelector("#notice, .error")?.remove();
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = words;
    line.setAttribute("role", kind === "error" ? "alert" : "status");
    if (kind === "notice") line.id = "notice";
    if (kind === "error") row.querySelector("legend").after(line);
    else main.querySelector("fieldset").before(line);
  };
  const mark = (row) => {
    row.classList.add("blank");
    const word = document.createElement("span");
    word.className = "mark";
    word.textContent = text.texts.blank_mark;
    row.querySelector("legend").append(" ", word);
  };
  const unmark = (row) => {
    row.classList.remove("blank");
    row.querySelector(".mark")?.remove();
  };

  // --- Doing ---

  const act = async (action) => {
    const asked = rows().filter((row) => !row.hidden);
    const several = text.pages[here - 1].codes.length > 1;
    const before = new Set(askedPages());
    if (action === "skip" && !several) record(asked[0].dataset.code, "SKIPPED");
    else {
      const given = asked.map((row) => ({ row, code: row.dataset.code, value: valueOf(row) }));
      const wrong = action === "back" ? undefined : given.find(({ value }) => value === undefined);
      if (wrong) {
        notice(text.entries[wrong.code].range_error, "error", wrong.row);
        wrong.row.querySelector("input[type=text]").focus();
        return;
      }
      const blank = [];
      for (const { row, code, value } of given) {
        if (value !== null && value !== undefined) record(code, value);
        else if (value === null && code in answers && answers[code] !== "SKIPPED") record(code, "SKIPPED");
        else if (action !== "back" && !done.has(code)) blank.push(row);
      }
      if (blank.length && action === "next" && !confirming) {
        confirming = true;
        if (several) blank.forEach(mark);
        notice(several ? text.texts.blanks : text.texts.blank, "notice");
        main.querySelector("#notice").scrollIntoView({ block: "nearest" });
        return;
      }
      for (const row of blank) record(row.dataset.code, "SKIPPED");
    }
    await writing;
    if (!ready) return;
    const following = pageAfter(here);
    if (action === "back") {
      const previous = pageBefore(here);
      if (previous) show(previous);
      else location.replace(root);
    } else if (fromReview && (before.has(following) || following === REVIEW)) {
      fromReview = false;
      show(REVIEW);
    } else show(following);
    if (here === REVIEW) flush();
    else sendSoon();
  };

  const start = async () => {
    await keep([{ start: true }]);
    showTools();
    show(firstOpenPage());
    flush();
  };

  const finish = async () => {
    finished = true;
    await keep([{ finish: true }]);
    const sent = flush();
    await Promise.race([sent, new Promise((resolve) => { setTimeout(resolve, 1500); })]);
    if (finished && main.querySelector(".finish")) showThanks();
  };

  const chooseLanguage = async (language) => {
    const other = await loadBundle(language);
    stopClock();
    const typed = here >= 1 && here < REVIEW ? rows().filter((row) => !row.hidden).map((row) => [row.dataset.code, valueOf(row)]) : [];
    text = other;
    document.documentElement.lang = language;
    showTools();
    const stamp = document.querySelector(".stamp");
    if (stamp) stamp.textContent = text.texts.stamp;
    const giveBack = document.querySelector(".give-back a");
    if (giveBack) giveBack.textContent = text.texts.give_back;
    if (here === 0) return;
    await keep([{ start: true }]);
    for (const [code, value] of typed) if (value !== null && value !== undefined) record(code, value);
    show(here);
    flush();
  };

  const inOrder = async (work) => {
    if (busy) return;
    busy = true;
    try {
      await work();
    } catch {
      giveUp();
    } finally {
      busy = false;
    }
  };

  document.addEventListener("submit", (event) => {
    const sent = event.target;
    if (sent.matches(".comfort")) {
      event.preventDefault();
      changeDisplay(event.submitter.value);
      return;
    }
    if (!ready) return;
    if (sent.matches(".languages")) {
      if (here === 0) return;
      event.preventDefault();
      inOrder(() => chooseLanguage(event.submitter.value));
      return;
    }
    if (!main.contains(sent)) return;
    event.preventDefault();
    silence();
    if (sent.matches(".question")) inOrder(() => act(event.submitter?.value ?? "next"));
    else if (sent.matches(".finish")) inOrder(finish);
    else inOrder(start);
  });

  main.addEventListener("change", (event) => {
    const row = event.target.closest("fieldset[data-code]");
    if (!ready || !row) return;
    const box = row.querySelector("input[type=checkbox][value=prefer_not]");
    if (box && event.target === box && box.checked) {
      row.querySelectorAll("input[type=text]").forEach((input) => { input.value = ""; });
      row.querySelectorAll("input:checked").forEach((input) => { input.checked = input === box; });
    } else if (box && event.target !== box) box.checked = false;
    main.querySelector("#notice, .error")?.remove();
    unmark(row);
    const value = valueOf(row);
    // A number is judged when it is complete, that is on Next: a "4" on the way to "40" is no mistake.
    if (value === null || value === undefined) return;
    record(row.dataset.code, value).then(sendSoon, () => {});
    showAsked();
  });

  main.addEventListener("click", (event) => {
    const link = event.target.closest(".review a[data-page]");
    if (!ready || !link) return;
    event.preventDefault();
    fromReview = true;
    show(Number(link.dataset.page), link.dataset.code);
  });

  // The second tap of a double tap falls on whatever has just appeared under the finger. It was meant for what was there.
  // A mouse counts its clicks; a finger's are told by time and place.
  let lastTap = { at: -Infinity, x: 0, y: 0, page: 0, confirming };
  document.addEventListener("click", (event) => {
    const tap = { at: performance.now(), x: event.clientX, y: event.clientY, page: here, confirming };
    // The keyboard's, and what a label passes on to its input, are no taps of their own.
    if (event.detail === 0 || tap.at - lastTap.at < 15) return;
    const near = tap.at - lastTap.at < DOUBLE_TAP && Math.hypot(tap.x - lastTap.x, tap.y - lastTap.y) < 40;
    const isSecond = event.detail > 1 || (event.pointerType === "touch" && near);
    if (ready && isSecond && (busy || tap.page !== lastTap.page || tap.confirming !== lastTap.confirming)) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    lastTap = tap;
  }, true);
  document.addEventListener("keydown", (event) => {
    if (ready && event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
  }, true);

  document.addEventListener("visibilitychange", () => {
    if (!ready) return;
    if (document.hidden) stopClock();
    else startClock();
    flush();
  });
  addEventListener("online", () => { if (form) flush(); });
  addEventListener("offline", () => { if (ready) say("offline"); });

  // --- Comfort: text size and contrast, for this questionnaire alone ---

  const display = () => {
    const [, size, contrast] = document.cookie.match(/(?:^|; )display=([123])(c?)/) ?? [null, "1", ""];
    return { size: Number(size), contrast: contrast === "c" };
  };
  const applyDisplay = () => {
    const { size, contrast } = display();
    document.documentElement.className = `size-${size}${contrast ? " contrast" : ""}`;
  };
  const changeDisplay = (what) => {
    let { size, contrast } = display();
    if (what === "size") size = (size % 3) + 1;
    else contrast = !contrast;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `display=${size}${contrast ? "c" : ""}; path=${root}; max-age=14400; samesite=strict${secure}`;
    applyDisplay();
  };
  applyDisplay();

  // --- Reading aloud: on a tap, never by itself, with the device's own voice ---

  const voice = self.speechSynthesis;
  let reading = false;
  const silence = () => {
    if (!reading) return;
    reading = false;
    voice.cancel();
    const button = main.querySelector(".aloud");
    if (button && text) {
      button.setAttribute("aria-pressed", "false");
      button.textContent = text.texts.read_aloud;
    }
  };
  const offerReading = () => {
    const button = main.querySelector(".aloud");
    if (button && voice && text) button.hidden = false;
  };
  const readAloud = () => {
    const words = [...main.querySelectorAll(".introduction, .stem, .statement, .option span, .number span, .actions button")]
      .map((element) => element.textContent.trim()).filter(Boolean);
    const speaker = voice.getVoices().find((one) => one.localService && one.lang.startsWith(text.language));
    const button = main.querySelector(".aloud");
    reading = true;
    button.setAttribute("aria-pressed", "true");
    button.textContent = text.texts.stop_reading;
    words.forEach((one, place) => {
      const utterance = new SpeechSynthesisUtterance(one);
      utterance.lang = text.language === "es" ? "es-US" : "en-US";
      utterance.rate = 0.9;
      if (speaker) utterance.voice = speaker;
      if (place === words.length - 1) utterance.onend = silence;
      voice.speak(utterance);
    });
  };
  main.addEventListener("click", (event) => {
    if (!ready || !event.target.closest(".aloud")) return;
    if (event.target.closest(".aloud").getAttribute("aria-pressed") === "true") silence();
    else readAloud();
  });
  addEventListener("pagehide", silence);

  // --- Nobody there: ask, then pause, so that the next person sees nothing ---

  const IDLE = Number(body.dataset.idle ?? 180) * 1000;
  const STAY = 60;
  let touched = performance.now();
  let asking = null;
  const stay = () => {
    touched = performance.now();
    if (!asking) return;
    asking.close();
    asking.remove();
    asking = null;
    main.classList.remove("covered");
    if (here >= 1 && here < REVIEW) startClock();
  };
  const pause = async () => {
    ready = false;
    await queue.flush();
    answers = {};
    main.replaceChildren();
    location.replace("/q/locked/");
  };
  const ask = () => {
    stopClock();
    silence();
    main.classList.add("covered"); // the answers are hidden while nobody may be there
    asking = document.createElement("dialog");
    asking.className = "idle";
    asking.setAttribute("aria-labelledby", "idle-title");
    const [title, line, button] = ["h2", "p", "button"].map((name) => document.createElement(name));
    title.id = "idle-title";
    title.textContent = text.texts.idle_title;
    line.className = "lead";
    line.setAttribute("role", "timer");
    button.className = "primary";
    button.textContent = text.texts.idle_stay;
    button.addEventListener("click", stay);
    asking.addEventListener("cancel", stay);
    asking.append(title, line, button);
    body.append(asking);
    asking.showModal();
  };
  for (const name of ["pointerdown", "keydown", "input", "scroll"]) {
    addEventListener(name, () => { if (!asking) touched = performance.now(); }, { passive: true, capture: true });
  }
  setInterval(() => {
    if (!ready || here === 0 || finished) {
      touched = performance.now();
      return;
    }
    const left = Math.ceil((IDLE + STAY * 1000 - (performance.now() - touched)) / 1000);
    if (left <= 0) pause();
    else if (left <= STAY) {
      if (!asking) ask();
      asking.querySelector(".lead").textContent = text.texts.idle.replace("{seconds}", left);
    }
  }, 500);

  // --- Beginning ---

  const loadBundle = async (language) => {
    if (bundles.has(language)) return bundles.get(language);
    const address = addresses[language];
    const store = "caches" in self ? await caches.open("forms").catch(() => null) : null;
    const kept = await store?.match(address);
    const response = kept ?? await fetch(address, { signal: AbortSignal.timeout(20_000) });
    if (!response.ok) throw new Error(String(response.status));
    const copy = response.clone();
    const bundle = await response.json(); // throws at a network's sign-in page, which is not to be kept
    if (store && !kept) {
      for (const old of await store.keys()) if (!Object.values(addresses).some((one) => old.url.endsWith(one))) await store.delete(old);
      await store.put(address, copy);
    }
    bundle.digest = address.match(/([0-9a-f]+)\.json$/)[1];
    bundles.set(language, bundle);
    return bundle;
  };

  const readState = async () => {
    if (body.dataset.state) return JSON.parse(body.dataset.state);
    const response = await fetch(`${root}state/`, { cache: "no-store", signal: AbortSignal.timeout(8_000) });
    if (response.status >= 500) throw new Error(String(response.status));
    return response.ok ? response.json() : { status: "gone" };
  };

  const waitForServer = async () => {
    for (;;) {
      await new Promise((resolve) => {
        setTimeout(resolve, 2_000 + 2_000 * Math.random());
        addEventListener("online", resolve, { once: true });
      });
      if (await readState().then(() => true, () => false)) {
        location.replace(root);
        return;
      }
    }
  };

  const begin = async () => {
    try {
      await queue.prepare();
    } catch {
      body.dataset.keeping = "denied";
      const line = main.querySelector(".status");
      if (line?.dataset.direct) line.textContent = line.dataset.direct;
      if (isShell) waitForServer();
      return;
    }
    form = await queue.nameOf(root);
    const kept = await queue.load(form);
    if (kept.session?.rating) return; // a clinician's, which rating.js shows
    let state = null;
    try {
      state = await readState();
    } catch { /* no connection: what is kept here has to do */ }
    if (state && !["waiting", "started"].includes(state.status)) {
      await queue.flush();
      if (isShell || kept.waiting.length) location.replace(root);
      return;
    }
    if (!state && !kept.session) {
      if (isShell) waitForServer();
      return;
    }
    addresses = state?.bundles ?? kept.session.addresses;
    answers = { ...state?.answers };
    for (const one of kept.waiting) if ("item" in one) answers[one.item] = one.value;
    done = new Set([...Object.keys(answers), ...(kept.session?.done ?? [])]);
    opened = new Set(kept.session?.opened ?? []);
    finished = kept.session?.finished ?? kept.waiting.some((one) => one.finish);
    queue.countOn(form, (state?.last_sequence ?? 0) + 1);
    const shown = main.querySelector("form.question");
    if (shown) queue.countOn(form, Number(shown.elements.sequence.value));
    // What waits was given in the language chosen last; otherwise the page's own counts.
    const language = kept.waiting.length || isShell
      ? kept.session?.language ?? kept.waiting.at(-1)?.language ?? state.language : document.documentElement.lang;
    try {
      text = await loadBundle(language);
    } catch {
      if (isShell) waitForServer();
      return;
    }
    // What a patient agrees to is a plain form: here the questions only come to the device while it is read.
    if (state?.awaits_consent) {
      body.dataset.keeping = "here";
      await makeReady();
      return;
    }
    const isOtherLanguage = document.documentElement.lang !== language && !isShell;
    document.documentElement.lang = language;
    if (isOtherLanguage && shown) showTools();
    ready = true;
    body.dataset.keeping = "here";
    if (isShell && kept.session?.stamp) showStamp();
    if (finished) showThanks();
    else if (isShell) {
      showTools();
      const asked = Number(location.pathname.match(/page\/(\d+)\/$/)?.[1]);
      if (location.pathname.endsWith("/review/")) show(REVIEW);
      else show(askedPages().includes(asked) ? asked : firstOpenPage());
    } else if (shown) {
      const address = new URL(shown.getAttribute("action"), location.href);
      const number = Number(address.pathname.match(/page\/(\d+)/)[1]);
      fromReview = address.searchParams.has("review");
      const { codes } = text.pages[number - 1];
      const missing = codes.some((code) => !document.getElementById(`q-${code}`)); // what another answer may open
      // As the server shows it, unless an answer to it still waits here.
      if (isOtherLanguage || missing || kept.waiting.some((one) => codes.includes(one.item))) showPage(number);
      else {
        here = number;
        for (const code of codes) timesShown.set(code, 1);
        offerReading();
        startClock();
      }
    } else if (main.querySelector(".review")) {
      here = REVIEW;
      if (kept.waiting.length) showReview();
    }
    flush();
    await makeReady();
  };

  // When there is time: the other languages, and what shows the page while the server can't be reached.
  const makeReady = async () => {
    for (const other of Object.keys(addresses)) await loadBundle(other).catch(() => {});
    await navigator.serviceWorker?.register("/q/service-worker.js").catch(() => {});
  };
  begin();
})();
