// Answers wait here, on the disk and encrypted, until the server has them. Shared by the pages and the service worker.
// What is kept: the link, the code and value of each answer, its number and times. It goes as soon as it is acknowledged.
self.AnswerQueue = (() => {
  "use strict";
  const MAXIMUM_AGE = 72 * 60 * 60 * 1000;
  const BATCH = 100;
  const TIMEOUT = 12_000;
  const channel = "BroadcastChannel" in self ? new BroadcastChannel("answers") : null;
  const listeners = new Set();
  const next = new Map(); // form -> the number of its next answer

  const result = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const committed = (transaction) => new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("The browser gave up storing."));
  });

  // --- The store and its key ---

  let opening = null;
  const open = () => {
    opening ??= new Promise((resolve, reject) => {
      const request = indexedDB.open("waiting-answers", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("keys");
        request.result.createObjectStore("forms", { keyPath: "form" });
        request.result.createObjectStore("answers", { autoIncrement: true, keyPath: "id" }).createIndex("form", "form");
      };
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("The store is held by an older page."));
      request.onsuccess = () => {
        const database = request.result;
        // Closed or deleted by the browser: what comes next needs a new connection, and perhaps a new key.
        database.onclose = database.onversionchange = () => { database.close(); opening = key = null; };
        resolve(database);
      };
    });
    opening.catch(() => { opening = null; });
    return opening;
  };

  // A transaction; once more with a fresh connection when the browser has closed the old one.
  const transact = async (stores, mode, work) => {
    for (let attempt = 0; ; attempt += 1) {
      const database = await open();
      let transaction;
      try {
        transaction = database.transaction(stores, mode, { durability: "strict" });
      } catch (error) {
        if (attempt > 0) throw error;
        opening = null;
        continue;
      }
      const done = committed(transaction);
      const value = work(transaction);
      done.catch(() => {});
      const [found] = await Promise.all([value, done]);
      return found;
    }
  };

  let key = null;
  const cryptoKey = () => {
    key ??= (async () => {
      const kept = await transact(["keys"], "readonly", (t) => result(t.objectStore("keys").get("answers")));
      if (kept) return kept;
      // It can be used, but never read out: whoever copies the store can't read it elsewhere.
      const fresh = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
      return transact(["keys"], "readwrite", async (t) => {
        const store = t.objectStore("keys");
        const other = await result(store.get("answers")); // another tab may have been quicker
        if (!other) store.put(fresh, "answers");
        return other ?? fresh;
      });
    })();
    key.catch(() => { key = null; });
    return key;
  };
  const encrypt = async (content) => {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const bytes = new TextEncoder().encode(JSON.stringify(content));
    return { iv, data: await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await cryptoKey(), bytes), at: Date.now() };
  };
  const decrypt = async ({ iv, data }) => {
    const bytes = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, await cryptoKey(), data);
    return JSON.parse(new TextDecoder().decode(bytes));
  };

  // --- What the pages use ---

  // Whether this browser can keep answers: throws when it can't.
  const prepare = async () => {
    await decrypt(await encrypt({ probe: true }));
  };

  // The name under which a questionnaire is kept; the link can't be read from it.
  const nameOf = async (root) => {
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(root));
    return [...new Uint8Array(digest)].slice(0, 12).map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  const load = async (form) => {
    const [kept, records] = await transact(["forms", "answers"], "readonly", (t) => Promise.all([
      result(t.objectStore("forms").get(form)), result(t.objectStore("answers").index("form").getAll(form)),
    ]));
    const waiting = [];
    for (const record of records) waiting.push(await decrypt(record));
    for (const one of waiting) if (one.sequence) countOn(form, one.sequence + 1);
    return { session: kept ? await decrypt(kept) : null, waiting };
  };

  const countOn = (form, number) => next.set(form, Math.max(next.get(form) ?? 1, number));

  // One after another: the order of giving is the order of numbers and of the store.
  let turn = Promise.resolve();
  const inTurn = (work) => {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  };

  // On the disk when the promise is kept. `entries`: answers, or what else the server has to be told in this order.
  const save = (form, session, entries) => inTurn(async () => {
    const records = [];
    let number = next.get(form) ?? 1;
    for (const entry of entries) {
      const numbered = "item" in entry ? { ...entry, sequence: number } : entry;
      if ("item" in entry) number += 1;
      records.push({ form, isAnswer: "item" in entry, ...(await encrypt({ ...numbered, root: session.root })) });
    }
    const kept = { form, ...(await encrypt(session)) };
    await transact(["forms", "answers"], "readwrite", (t) => {
      for (const record of records) t.objectStore("answers").add(record);
      t.objectStore("forms").put(kept);
    });
    next.set(form, number);
  });

  const forget = (form) => transact(["forms", "answers"], "readwrite", async (t) => {
    t.objectStore("forms").delete(form);
    for (const id of await result(t.objectStore("answers").index("form").getAllKeys(form))) {
      t.objectStore("answers").delete(id);
    }
  });

  const countWaiting = (form) => transact(["answers"], "readonly", (t) => result(
    form ? t.objectStore("answers").index("form").count(form) : t.objectStore("answers").count(),
  ));

  const removeOld = () => transact(["forms", "answers"], "readwrite", async (t) => {
    const before = Date.now() - MAXIMUM_AGE;
    for (const name of ["answers", "forms"]) {
      const store = t.objectStore(name);
      for (const record of await result(store.getAll())) {
        if (record.at < before) store.delete(name === "forms" ? record.form : record.id);
      }
    }
  });

  // --- A site's tablet: the front desk is told what waits here, and what the server would not take ---

  const REPORT_EVERY = 60_000;
  let told = "";
  let toldAt = -Infinity;
  const beTablet = () => transact(["keys"], "readwrite", (t) => { t.objectStore("keys").put(true, "tablet"); });
  const putAway = () => transact(["forms"], "readwrite", (t) => { t.objectStore("forms").clear(); });

  const reportTablet = async () => {
    const [isTablet, refused = 0, records] = await transact(["keys", "answers"], "readonly", (t) => Promise.all([
      result(t.objectStore("keys").get("tablet")), result(t.objectStore("keys").get("refused")),
      result(t.objectStore("answers").getAll()),
    ]));
    if (!isTablet) return;
    // A finish that waits alone keeps a questionnaire open: one thing unsent.
    const nAnswers = records.filter((record) => record.isAnswer !== false).length;
    const body = JSON.stringify({ unsent: Math.max(nAnswers, records.length ? 1 : 0), refused });
    if (body === told && performance.now() - toldAt < REPORT_EVERY) return;
    const response = await fetch("/q/tablet/report/", {
      method: "POST", body, keepalive: true, headers: { "Content-Type": "application/json" },
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (response.ok) [told, toldAt] = [body, performance.now()];
    else if (response.status === 404) await transact(["keys"], "readwrite", (t) => { t.objectStore("keys").delete("tablet"); });
  };

  // --- Delivery ---

  const remove = (ids, nRefused = 0) => transact(["answers", "keys"], "readwrite", async (t) => {
    for (const id of ids) t.objectStore("answers").delete(id);
    if (!nRefused) return;
    const keys = t.objectStore("keys");
    keys.put(((await result(keys.get("refused"))) ?? 0) + nRefused, "refused");
  });

  // Another device or tab has used these numbers: this form's waiting answers get the next ones, in the same order.
  const renumber = (form, last) => inTurn(async () => {
    const records = await transact(["answers"], "readonly", (t) => result(t.objectStore("answers").index("form").getAll(form)));
    let number = last + 1;
    const changed = [];
    for (const record of records) {
      const entry = await decrypt(record);
      if (!entry.sequence) continue;
      changed.push({ ...record, ...(await encrypt({ ...entry, sequence: number })), at: record.at });
      number += 1;
    }
    await transact(["answers"], "readwrite", (t) => { for (const record of changed) t.objectStore("answers").put(record); });
    countOn(form, number);
  });

  const post = async (root, entries, waiting) => {
    const answers = entries.filter((entry) => "item" in entry).map(({ root: _, ...answer }) => answer);
    const body = JSON.stringify({
      language: entries.at(-1).language, answers, finish: entries.some((entry) => entry.finish),
      sent_at: new Date().toISOString(), waiting,
    });
    const response = await fetch(`${root}deliver/`, {
      method: "POST", body, keepalive: body.length < 50_000, cache: "no-store", referrerPolicy: "no-referrer",
      headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(TIMEOUT),
    });
    return [response.status, await response.json().catch(() => null)];
  };

  const deliverForm = async (form, report) => {
    let size = BATCH;
    for (;;) {
      const records = await transact(["answers"], "readonly", (t) => result(
        t.objectStore("answers").index("form").getAll(form, size),
      ));
      if (!records.length) return;
      const entries = [];
      for (const record of records) entries.push(await decrypt(record));
      const waiting = (await countWaiting()) - records.length;
      const [status, answer] = await post(entries[0].root, entries, waiting);
      // A network's sign-in page may answer with 200 as well.
      if (status === 200 && Number.isInteger(answer?.last_sequence)) {
        await remove(records.map((record) => record.id));
        countOn(form, answer.last_sequence + 1);
        report(form, { sent: entries.length });
        if (answer.status === "completed") {
          await forget(form);
          report(form, { completed: true });
          return;
        }
      } else if (status === 409 && answer && "last_sequence" in answer) {
        await renumber(form, answer.last_sequence);
      } else if (answer && "error" in answer && status >= 400 && status < 500 && status !== 429) {
        // The server understood and will never take it. Alone it may be one of many that are fine.
        if (records.length > 1) {
          size = 1;
          continue;
        }
        await remove(records.map((record) => record.id), entries.filter((entry) => "item" in entry).length);
        report(form, { refused: status });
      } else {
        throw new Error(`The server answered ${status}.`);
      }
    }
  };

  const deliverAll = async () => {
    const records = await transact(["answers"], "readonly", (t) => result(t.objectStore("answers").getAll()));
    let failure = null;
    for (const form of new Set(records.map((record) => record.form))) {
      try {
        await deliverForm(form, tell);
      } catch (error) {
        failure = error;
      }
    }
    // Only now: a clock that was put right meanwhile makes what has just been given look old.
    await removeOld();
    if (failure) throw failure;
  };

  // Tells the pages of every tab, and this one, what became of a form's answers.
  const tell = (form, news) => {
    channel?.postMessage({ form, news, next: next.get(form) ?? 1 });
    for (const listener of listeners) listener(form, news);
  };
  channel?.addEventListener("message", ({ data }) => {
    countOn(data.form, data.next);
    for (const listener of listeners) listener(data.form, data.news);
  });

  // True when nothing of this device waits any more; false when the server could not be reached. One at a time.
  let running = null;
  let again = false;
  const flush = () => {
    if (running) {
      again = true;
      return running;
    }
    const locked = (work) => (navigator.locks ? navigator.locks.request("deliver answers", work) : work());
    running = (async () => {
      try {
        do {
          again = false;
          await locked(deliverAll);
        } while (again);
        return true;
      } catch {
        return false;
      } finally {
        running = null;
        reportTablet().catch(() => {}); // with the next flush, then
      }
    })();
    return running;
  };

  return {
    prepare, nameOf, load, save, forget, flush, countOn, countWaiting, beTablet, putAway,
    nextNumber: (form) => next.get(form) ?? 1,
    listen: (listener) => listeners.add(listener),
  };
})();
